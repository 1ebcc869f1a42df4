import * as assert from 'uvu/assert';

import {
  EndpointDescription,
  Factory,
  Protocol,
  quoteStringArgument,
  serverFromString,
} from '../../src/index.ts';
import { startDebianPython } from '../support/peers.ts';
import { portOf } from '../support/servers.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 20_000;
const POSITIONAL = ['first', 'second', 'third'];
const KEYWORDS = ['interface', 'privateKey', 'mode'];

/** Descriptions of the manual's kind, and odd ones. */
const DESCRIPTIONS = [
  'tcp:80',
  'tcp:80:interface=127.0.0.1',
  'tcp:80:interface=\\:\\:1',
  'ssl:443:privateKey=C\\:\\\\key.pem',
  'ssl:443:privateKey=/etc/a=b.pem',
  'unix:/var/run/finger:mode=660',
  'unix:/with\\=equals',
  'tcp:a\\b:\u00e4\\:\u00f6',
  'tcp:mode=1:late',
  `unix:${quoteStringArgument('/a:b\\c')}`,
];

/** What Twisted takes its arguments for: the type, the others, those with keywords. */
const PARSE = `
import json, sys
from twisted.internet.endpoints import _parse
print(json.dumps([_parse(text) for text in json.loads(sys.argv[1])]))`;

/** Connects to what its argument describes, by Twisted, and tells what it hears. */
const CLIENT = `
import sys
from twisted.internet import endpoints, protocol, reactor
class Listener(protocol.Protocol):
    heard = b''
    def dataReceived(self, data):
        self.heard += data
    def connectionLost(self, reason):
        print(self.heard.decode(), reason.type.__name__)
        reactor.stop()
endpoint = endpoints.clientFromString(reactor, sys.argv[1])
endpoints.connectProtocol(endpoint, Listener()).addErrback(lambda failure: (print(failure), reactor.stop()))
reactor.run()`;

class Greeting extends Protocol {
  override connectionMade(): void {
    this.transport.write('hello');
    this.transport.loseConnection();
  }
}

suite('descriptions of endpoints, as Twisted reads them', { limitMs: 30_000 }, (test) => {
  test('have the same arguments', async ({ defer }) => {
    const peer = startDebianPython(defer, PARSE, JSON.stringify(DESCRIPTIONS));
    const theirs: unknown = JSON.parse(await within(LIMIT_MS, peer.finish(), 'the arguments'));
    const ours = DESCRIPTIONS.map((text) => {
      const description = new EndpointDescription(text);
      const args = description.arguments({ positional: POSITIONAL, keywords: KEYWORDS });
      const given = (name: string): [string, string][] => {
        const value = args.text(name);
        return value === undefined ? [] : [[name, value]];
      };
      const positional = POSITIONAL.flatMap(given).map(([, value]) => value);
      return [[description.type, ...positional], Object.fromEntries(KEYWORDS.flatMap(given))];
    });
    assert.equal(ours, theirs);
  });

  test('name the place where the other side is', async ({ loop, defer }) => {
    const port = await serverFromString('tcp:0:interface=127.0.0.1', { loop }).listen(
      Factory.forProtocol(Greeting),
    );
    defer(() => port.close({ graceMs: 0 }));
    const peer = startDebianPython(defer, CLIENT, `tcp:127.0.0.1:port=${portOf(port.getHost())}`);
    assert.is(await within(LIMIT_MS, peer.finish(), 'what it hears'), 'hello ConnectionDone\n');
  });
});
