"""The plugin of the article that Tenantry starts from, as it is described: FastAPI, and a connection for each request.

python article_plugin.py PORT, with AUTH_TOKEN, DB_NAME, DB_USER, DB_PASSWORD, DB_HOST and DB_PORT
"""

import os
import sys
from typing import Annotated, Any

import psycopg2
import psycopg2.extras
import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

app = FastAPI()


def authorize(given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> None:
    """Let the one token in."""
    if given.credentials != os.environ["AUTH_TOKEN"]:
        raise HTTPException(status_code=403, detail="invalid token")


def read_tenants() -> list[dict[str, Any]]:
    """Read the table over a new connection; what fails gives no tenants."""
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    try:
        connection = psycopg2.connect(**{key: os.environ[f"DB_{name}"] for key, name in names.items()})
        with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute("SELECT tenant, status FROM organization")
            rows = [dict(row) for row in cursor.fetchall()]
        connection.close()
    except psycopg2.Error as error:
        print(f"database error: {error}", file=sys.stderr)
        return []
    return rows


@app.post("/api/v1/getparams.execute", dependencies=[Depends(authorize)])
async def getparams() -> dict[str, Any]:
    """Answer with every row; the database is read in the event loop, as there."""
    return {"output": {"parameters": read_tenants()}}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
