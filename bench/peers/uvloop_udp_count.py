# Counts UDP datagrams on uvloop; one of less than 16 bytes asks how many there were.
import asyncio

import uvloop

LEAST_SIZE = 16


class Count(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
        self.datagrams = 0
        self.bytes = 0

    def datagram_received(self, data, address):
        if len(data) < LEAST_SIZE:
            self.transport.sendto(b"%b %d %d" % (data, self.datagrams, self.bytes), address)
            return
        self.datagrams += 1
        self.bytes += len(data)


async def main():
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Count, ("127.0.0.1", 0))
    print(transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Event().wait()


uvloop.install()
asyncio.run(main())
