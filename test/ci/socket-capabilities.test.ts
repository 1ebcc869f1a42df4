import * as assert from 'uvu/assert';

import { IOStream, type SocketOptions, TCPServer } from '../../src/index.ts';
import { runSource } from '../support/child.ts';
import { connectPair } from '../support/streams.ts';
import { suite } from '../support/suite.ts';

/** What takes CAP_NET_ADMIN. */
const privileged = {
  SO_MARK: 7,
  SO_PREFER_BUSY_POLL: true,
  SO_PRIORITY: 7,
  SO_RCVBUFFORCE: 2 ** 28,
  SO_SNDBUFFORCE: 2 ** 28,
  IP_TRANSPARENT: true,
} satisfies SocketOptions;
/** What takes a capability on some kernels, or to be changed. */
const halfPrivileged = { SO_BINDTODEVICE: 'lo', SO_BUSY_POLL: 50 } satisfies SocketOptions;

suite('socket options that take capabilities', (test) => {
  test('are set by root, and read as they were set', async (context) => {
    const { left } = await connectPair('tcp', context);
    for (const [name, value] of Object.entries({ ...privileged, ...halfPrivileged }))
      left.setOption(name, value);
    const read = ['SO_MARK', 'SO_PREFER_BUSY_POLL', 'SO_PRIORITY', 'SO_BUSY_POLL', 'IP_TRANSPARENT'];
    assert.equal(
      read.map((name) => left.getOption(name)),
      [7, 1, 7, 50, 1],
    );
    assert.ok(left.getOption('SO_RCVBUF') >= 2 ** 28 && left.getOption('SO_SNDBUF') >= 2 ** 28);
    assert.is(left.getOptionText('SO_BINDTODEVICE'), 'lo');
    left.setOption('SO_BINDTODEVICE', '');
    assert.is(left.getOptionText('SO_BINDTODEVICE'), '');
  });

  test('are set by root before listen and connect', async ({ loop, defer }) => {
    const socketOptions = { ...privileged, ...halfPrivileged };
    const server = new TCPServer(() => {}, { loop });
    defer(() => server.close({ graceMs: 0 }));
    const { port } = await server.listen(0, '127.0.0.1', { socketOptions });
    const stream = await IOStream.connect({ host: '127.0.0.1', port }, { loop, socketOptions });
    defer(() => stream.abort());
    assert.is(stream.getOption('SO_MARK'), 7);
    assert.is(stream.getOptionText('SO_BINDTODEVICE'), 'lo');
  });

  test('are EPERM by name without them', async () => {
    const { stdout, stderr, code } = await runSource(`
      import { IOStream, TCPServer } from './src/index.ts';
      const host = '127.0.0.1';
      const server = new TCPServer(() => {});
      const { port } = await server.listen(0, host);
      const stream = await IOStream.connect({ host, port });
      process.setuid(65534);
      const say = (name, how, error) => console.log(name, how, error.code, error.syscall, error.message.includes(name));
      for (const [name, value] of Object.entries(${JSON.stringify(privileged)})) {
        try { stream.setOption(name, value); } catch (error) { say(name, 'set', error); }
        const socketOptions = { [name]: value };
        await IOStream.connect({ host, port }, { socketOptions }).catch((error) => say(name, 'preset', error));
        await server.listen(0, host, { socketOptions }).catch((error) => say(name, 'listen', error));
      }
      stream.setOption('SO_BINDTODEVICE', 'lo');
      try { stream.setOption('SO_BINDTODEVICE', ''); } catch (error) { say('SO_BINDTODEVICE', 'change', error); }
      stream.abort();
      await server.close({ graceMs: 0 });`);
    assert.is(code, 0, stderr);
    const refused = Object.keys(privileged).flatMap((name) =>
      ['set', 'preset', 'listen'].map((how) => `${name} ${how} EPERM setsockopt true`),
    );
    assert.equal(stdout.trim().split('\n'), [...refused, 'SO_BINDTODEVICE change EPERM setsockopt true']);
  });
});
