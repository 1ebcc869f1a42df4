/** How long frames of one length are. */
export const FIXED: number = 16;

/**
 * What all the peers know: their arguments, which are a framing, 'client' or 'server', the port of a server, how
 * many frames there are and how long one is at most; and the frames. A server says where it is.
 */
const PRELUDE = `
import asyncio, sys
kind, role, port, count, most = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
def frame(i):
    return bytes([97 + i % 26]) * (${FIXED} if kind == 'fixed' else i * 977 % (most + 1))
`;

/** Frames by a receiver of Twisted's: a server that sends back what comes, or a client that wants that. */
export const TWISTED: string = `${PRELUDE}
from twisted.internet import protocol, reactor
from twisted.protocols import basic
class Peer(getattr(basic, kind)):
    heard = 0
    def send(self, data):
        self.sendLine(data) if 'Line' in kind else self.sendString(data)
    def connectionMade(self):
        if role == 'client':
            for i in range(count):
                self.send(frame(i))
    def received(self, data):
        if role == 'server':
            return self.send(data)
        assert data == frame(self.heard)
        self.heard += 1
        if self.heard == count:
            self.transport.loseConnection()
    lineReceived = stringReceived = received
    def connectionLost(self, reason):
        if role == 'client':
            print(self.heard, 'came back')
            reactor.stop()
if role == 'server':
    factory = protocol.Factory.forProtocol(Peer)
    print('serves at', reactor.listenTCP(0, factory, interface='127.0.0.1').getHost().port)
else:
    factory = protocol.ClientFactory.forProtocol(Peer)
    reactor.connectTCP('127.0.0.1', port, factory)
reactor.run()`;

/** What a peer does that reads and writes by coroutines, wherever it has them from. */
const COROUTINES = `${PRELUDE}
end = b'' if kind == 'fixed' else b'\\n'
async def echo(read, write):
    while True:
        await write(await read())
async def ask(read, write):
    async def send():
        for i in range(count):
            await write(frame(i) + end)
    sending = asyncio.ensure_future(send())
    for i in range(count):
        assert await read() == frame(i) + end
    await sending
    print(count, 'came back')
`;

/** Lines and frames of one length by asyncio. */
export const ASYNCIO: string = `${COROUTINES}
def calls(reader, writer):
    async def read():
        data = await (reader.readexactly(${FIXED}) if kind == 'fixed' else reader.readline())
        if not data:
            raise EOFError
        return data
    async def write(data):
        writer.write(data)
        await writer.drain()
    return read, write
async def serve(reader, writer):
    try:
        await echo(*calls(reader, writer))
    except (EOFError, ConnectionError):
        writer.close()
async def main():
    if role == 'client':
        return await ask(*calls(*await asyncio.open_connection('127.0.0.1', port)))
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    print('serves at', server.sockets[0].getsockname()[1])
    await server.serve_forever()
asyncio.run(main())`;

/** Lines by Tornado. */
export const TORNADO: string = `${COROUTINES}
from tornado import iostream, netutil, tcpclient, tcpserver
def calls(stream):
    return lambda: stream.read_until(b'\\n'), stream.write
class Server(tcpserver.TCPServer):
    async def handle_stream(self, stream, address):
        try:
            await echo(*calls(stream))
        except iostream.StreamClosedError:
            pass
async def main():
    if role == 'client':
        return await ask(*calls(await tcpclient.TCPClient().connect('127.0.0.1', port)))
    server = Server()
    server.add_sockets(netutil.bind_sockets(0, '127.0.0.1'))
    print('serves at', *[socket.getsockname()[1] for socket in server._sockets.values()])
    await asyncio.Event().wait()
asyncio.run(main())`;
