# Lines on Twisted's LineReceiver, each sent back by a write of its own.
from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import protocol, reactor
from twisted.protocols.basic import LineReceiver


class Lines(LineReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 21  # of a line, for whom --size makes them long; 16 KiB by default

    def connectionMade(self):
        self.transport.setTcpNoDelay(True)
        # Pauses reading while the peer takes too little.
        self.transport.registerProducer(self.transport, True)

    def lineReceived(self, line):
        self.sendLine(line)


port = reactor.listenTCP(0, protocol.Factory.forProtocol(Lines), backlog=4096, interface="127.0.0.1")
print(port.getHost().port, flush=True)
reactor.run()
