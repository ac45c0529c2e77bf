"""Answers every POST with the bytes of a file: what an aiohttp handler can do, and so the limit for who does more.

python prepared_aiohttp.py PORT FILE
"""

import sys
from pathlib import Path

from aiohttp import web


def main(port: int, file: Path) -> None:
    """Serve until a signal."""
    body = file.read_bytes()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_post("/api/v1/getparams.execute", answer)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
