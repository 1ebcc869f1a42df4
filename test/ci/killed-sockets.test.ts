/**
 * Sockets that an administrator kills: `ss -K` (ss(8), CONFIG_INET_DIAG_DESTROY) ends one with ECONNABORTED and
 * resets its peer.
 */
import { execFileSync } from 'node:child_process';
import * as assert from 'uvu/assert';

import { ConnectionLost, IOLoop, type Reason, SystemError } from '../../src/index.ts';
import { connectTcp } from '../../src/protocol/connect.ts';
import { listenTcp } from '../../src/protocol/listen.ts';
import { RecorderClients, RecorderFactory } from '../support/factories.ts';
import { until } from '../support/request-servers.ts';
import { suite } from '../support/suite.ts';

function codeOf(reason: Reason | null | undefined): string | undefined {
  assert.ok(reason instanceof ConnectionLost && reason.cause instanceof SystemError, String(reason));
  return reason.cause.code;
}

for (const backend of IOLoop.backends) {
  suite(`a connection that is killed, on ${backend}`, { backend }, (test) => {
    for (const queued of [0, 1_000_000])
      test(`is lost to both ends, once, with ${queued} bytes queued`, async ({ loop, defer }) => {
        const servers = new RecorderFactory();
        const clients = new RecorderClients();
        const port = await listenTcp(0, servers, { loop, interface: '127.0.0.1' });
        defer(() => port.close({ graceMs: 0 }));
        const host = port.getHost();
        assert.ok('port' in host);
        connectTcp('127.0.0.1', host.port, clients, { loop });
        await until(loop, 'the connection', () => servers.made.length === 1 && clients.made.length === 1);
        const [[server], [client]] = [servers.made, clients.made];
        server?.transport.pauseProducing();
        client?.transport.write(Buffer.alloc(queued));
        execFileSync('ss', ['-K', '-tn', 'dst', '127.0.0.1', 'dport', '=', `:${host.port}`]);
        server?.transport.resumeProducing();
        await until(loop, 'both ends', () => server?.reason !== null && client?.reason !== null);
        assert.is(codeOf(client?.reason), 'ECONNABORTED');
        assert.is(codeOf(server?.reason), 'ECONNRESET');
        for (const end of [server, client])
          assert.is(end?.calls.filter((call) => call === 'connectionLost').length, 1);
        assert.is(server?.calls.at(-1), 'connectionLost');
      });
  });
}
