// Echo by Protocol: the callbacks of Twisted's programs.
//
// usage: protocol-echo.ts BACKEND
import { Factory, IOLoop, listenTcp, Protocol } from 'ioloop';

const [backend] = process.argv.slice(2);
const loop = new IOLoop({ backend });

class Echo extends Protocol {
  override connectionMade(): void {
    // Pauses reading while the peer takes too little.
    this.transport.registerProducer(this.transport, true);
  }

  override dataReceived(data: Buffer): void {
    this.transport.write(data);
  }
}

const port = await listenTcp(0, Factory.forProtocol(Echo), { interface: '127.0.0.1', loop });
const host = port.getHost();
if (host.family !== 'Unix') console.log(host.port);
process.once('SIGTERM', () => process.exit(0));
