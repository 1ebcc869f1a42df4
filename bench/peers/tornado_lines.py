# Lines on Tornado's IOStream: read_until, each sent back by a write of its own.
import asyncio

from tornado.iostream import StreamClosedError
from tornado.tcpserver import TCPServer


class LineServer(TCPServer):
    async def handle_stream(self, stream, address):
        stream.set_nodelay(True)
        try:
            while True:
                await stream.write(await stream.read_until(b"\n"))
        except StreamClosedError:
            pass


async def main():
    server = LineServer()
    server.listen(0, "127.0.0.1", backlog=4096)
    (listener,) = server._sockets.values()
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
