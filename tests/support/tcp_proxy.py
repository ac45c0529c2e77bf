"""A TCP proxy between a service and a server, for what a network does to connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

__all__ = ["Proxy"]


class Proxy:
    """An address whose new connections lead to `port`, which may change; those that are open stay where they are.

    While it is `mute` it takes every byte and connection, and passes nothing on. `on_answer` is called with each piece
    that comes from `port`.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.mute = False
        self.on_answer: Callable[[bytes], None] = lambda _: None
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def instead_of(self, dsn: str) -> AsyncIterator[str]:
        """Listen, and yield `dsn` with the proxy's address."""
        async with self.listening() as address:
            yield f"{dsn.rpartition('@')[0]}@{address}/{dsn.rpartition('/')[2]}"

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Listen, and yield HOST:PORT."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection that is open, as a firewall that is reloaded does."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection("127.0.0.1", self.port)
            with contextlib.closing(back):
                done, rest = await asyncio.wait(
                    {
                        asyncio.create_task(self._pump(reader, back)),
                        asyncio.create_task(self._pump(there, writer, self.on_answer)),
                    },
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for pump in rest:
                    pump.cancel()
                await asyncio.gather(*done, *rest, return_exceptions=True)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_data: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        while data := await reader.read(65536):
            if not self.mute:
                on_data(data)
                writer.write(data)
                await writer.drain()
