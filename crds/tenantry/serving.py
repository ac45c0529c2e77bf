"""Serving HTTP on the address of TENANTRY_BIND, the same way for each service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from tenantry.errors import SettingsError

__all__ = ["serving"]


@asynccontextmanager
async def serving(runner: web.AppRunner, address: tuple[str, int]) -> AsyncIterator[None]:
    """Serve during the block, and end in order afterwards. SettingsError: the address, (host, port), can't be had."""
    await runner.setup()
    try:
        await _bind(runner, *address)
        yield
    finally:
        await runner.cleanup()


async def _bind(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        accepts = f"an address that is free on this machine ({error.strerror or error})"
        raise SettingsError("TENANTRY_BIND", f"{host}:{port}", accepts) from error
