import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { clientFromString, IOLoopError, serverFromString } from '../../../src/index.ts';
import { localhost } from '../../support/certificates.ts';
import { suite } from '../../support/suite.ts';

/** Whether an error names all of `parts`. */
function names(...parts: readonly string[]): (error: Error) => boolean {
  return (error) => {
    const missing = parts.filter((part) => !error.message.includes(part));
    assert.equal(missing, [], error.message);
    return IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT');
  };
}

suite('the endpoint of a server is refused by the part that is wrong', (test) => {
  for (const [text, ...parts] of [
    ['tpc:80', 'type of', "'tpc:80'", "'tcp', 'tcp6', 'tls'", "not 'tpc'"],
    ['tcp:', 'port of', 'given'],
    ['tcp:http', 'port of', 'from 0 to 65535', "'http'"],
    ['tcp:65536', 'port of', "'65536'"],
    ['tcp:80:interfaces=x', 'keyword of', "'interface'", "not 'interfaces'"],
    ['tcp:80:backlog=many', 'backlog of', "'many'"],
    ['tcp:80:reusePort=maybe', 'reusePort of', "'yes'", "'maybe'"],
    ['tcp:80:a:1:b', 'argument of', "'b'"],
    ['tcp6:80:ipv6Only=2', 'ipv6Only of'],
    ['unix:', 'path of', 'given'],
    ['unix:/x:mode=888', 'mode of', 'an octal number from 0 to 777', "'888'"],
    ['unix:/x:lockfile=perhaps', 'lockfile of'],
    ['stdio:0', 'argument of', "not '0'"],
    ['tls:443:privateKey=/none/key.pem', 'privateKey of', 'ENOENT', '/none/key.pem'],
    ['tls:', 'port of', 'given'],
    ['systemd:', 'index of', 'given'],
    ['systemd:index=0', 'index of', 'LISTEN_FDS', "'0'"],
    ['systemd:name=http', 'name of', 'LISTEN_FDNAMES', "'http'"],
    ['fd:', 'number of', 'given'],
    ['fd:-1', 'number of', "'-1'"],
    ['haproxy:', 'description', 'a type'],
    ['haproxy:tpc:80', 'type of', "'tpc:80'"],
  ] as const)
    test(text, () =>
      assert.throws(
        () => {
          serverFromString(text, text === 'tls:' ? { tls: {} } : {});
        },
        names(...parts),
      ),
    );

  test('a certificate that is none', ({ defer }) => {
    const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
    defer(() => rmSync(directory, { recursive: true }));
    const [key, cert] = ['key.pem', 'cert.pem'].map((file) => join(directory, file));
    assert.ok(key && cert);
    writeFileSync(key, localhost.key);
    writeFileSync(cert, localhost.cert);
    const refused = (text: string, ...parts: string[]): void =>
      assert.throws(() => serverFromString(text), names(...parts));
    refused(`tls:443:${key}`, 'certKey of', "'CERTIFICATE'", key);
    refused(`tls:443:${cert}:${cert}`, 'privateKey of', "'PRIVATE KEY'", cert);
    refused(`tls:443:${key}:${cert}:extraCertChain=${key}`, 'extraCertChain of', key);
    refused(`ssl:443:${key}:${cert}:dhParameters=${key}`, 'dhParameters of', "'DH PARAMETERS'");
    refused(`tls:443:${key}:${directory}`, 'certKey of', 'EISDIR');
    assert.throws(() => clientFromString(`tls:x:1:trustRoots=${key}`), names('trustRoots of', key));
    rmSync(cert);
    assert.throws(
      () => clientFromString(`ssl:x:1:caCertsDir=${directory}`),
      names('caCertsDir of', directory),
    );
  });
});

suite('the endpoint of a client is refused by the part that is wrong', (test) => {
  for (const [text, ...parts] of [
    ['stdio:', 'type of', "'tcp', 'tls', 'ssl', 'unix'", "not 'stdio'"],
    ['tcp:', 'host of', 'given'],
    ['tcp:localhost', 'port of', 'given'],
    ['tcp:localhost:0', 'port of', 'from 1 to 65535', "'0'"],
    ['tcp:localhost:80:timeout=soon', 'timeout of', 'seconds', "'soon'"],
    ['tcp:localhost:80:bindAddress=here', 'bindAddress of', 'an IP literal', "'here'"],
    ['tls:localhost:443:certKey=x', 'keyword of', "'certificate'", "not 'certKey'"],
    ['ssl:localhost:443:certificate=x', 'keyword of', "'certKey'", "not 'certificate'"],
    ['tls:localhost:443:privateKey=x', 'certificate of', 'given'],
    ['tls:localhost:443:trustRoots=/none', 'trustRoots of', 'ENOENT'],
    ['unix:', 'path of', 'given'],
    ['unix:/x:y', 'argument of', "'y'"],
  ] as const)
    test(text, () => assert.throws(() => clientFromString(text), names(...parts)));
});
