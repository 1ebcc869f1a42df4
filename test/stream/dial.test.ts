import { getEventListeners } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import type { LookupFunction } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { AbortError, type IOLoop, IOLoopError, SystemError, TimeoutError } from '../../src/index.ts';
import {
  acceptSocket,
  closeFd,
  connectSocket,
  EAGAIN,
  listenSocket,
  peerAddress,
  type SocketTarget,
  socketAddress,
} from '../../src/raw.ts';
import type { Connection } from '../../src/stream/connect-attempt.ts';
import { type DialOptions, type DialTarget, dial } from '../../src/stream/dial.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';

type Defer = TestContext['defer'];

/** A listening socket, closed with the test, and its port; 0 at a path. */
function listen(defer: Defer, target: SocketTarget, backlog?: number): { listener: number; port: number } {
  const listener = listenSocket({ ...target, backlog });
  defer(() => closeFd(listener));
  const address = socketAddress(listener);
  return { listener, port: 'port' in address ? address.port : 0 };
}

/** One whose queue is full: it answers nobody (listen(2)), and nobody is refused. */
function listenFull(defer: Defer, target: SocketTarget): { listener: number; port: number } {
  const full = listen(defer, target, 0);
  const filler = connectSocket('path' in target ? target : { ...target, port: full.port });
  defer(() => closeFd(filler));
  return full;
}

/** A port of `host` that nobody listens on. */
function freePort(host: string): number {
  const listener = listenSocket({ host, port: 0 });
  const address = socketAddress(listener);
  closeFd(listener);
  return 'port' in address ? address.port : 0;
}

/** A lookup that answers with these addresses, whatever it is asked. */
function answering(...addresses: unknown[]): LookupFunction {
  return (_host, _options, callback) => callback(null, addresses.map(asAnswer) as never);
}

function asAnswer(address: unknown): unknown {
  return typeof address === 'string' ? { address, family: address.includes(':') ? 6 : 4 } : address;
}

/** Dials, and closes what it connects to; whom it was. */
async function reach(loop: IOLoop, target: DialTarget, options?: DialOptions): Promise<string> {
  const { fd, remote } = await dial(loop, target, options);
  closeFd(fd);
  return String(remote);
}

/** The error of a dial that must fail. */
async function refusal(dialed: Promise<Connection>): Promise<Error> {
  try {
    closeFd((await dialed).fd);
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('it connected, or threw what is no Error');
}

async function systemError(dialed: Promise<Connection>): Promise<SystemError> {
  const error = await refusal(dialed);
  if (!(error instanceof SystemError)) throw error;
  return error;
}

function makeDirectory(defer: Defer): string {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
  defer(() => rmSync(directory, { recursive: true }));
  return directory;
}

suite('dial', (test) => {
  test('connects to a literal without a lookup, and leaves the descriptor to its caller', async ({
    loop,
    defer,
  }) => {
    const { listener, port } = listen(defer, { port: 0 });
    const lookup: LookupFunction = () => assert.unreachable('nothing to look up');
    const { fd, remote } = await dial(loop, { host: '127.0.0.1', port }, { lookup });
    defer(() => closeFd(fd));
    assert.is(String(remote), `127.0.0.1:${port}`);
    const accepted = acceptSocket(listener);
    defer(() => closeFd(accepted));
    assert.equal(peerAddress(accepted), socketAddress(fd));
    // Watched by nobody: it can be watched by its caller.
    assert.equal(loop.resources(), []);
  });

  test('asks a lookup as Node does, for the name, and for localhost where none is given', async ({
    loop,
    defer,
  }) => {
    const { port } = listen(defer, { port: 0 });
    const asked: unknown[] = [];
    const lookup: LookupFunction = (host, options, callback) => {
      asked.push([host, options.all, options.family]);
      callback(null, [{ address: '127.0.0.1', family: 4 }]);
    };
    assert.is(await reach(loop, { host: 'a.example', port }, { lookup }), `127.0.0.1:${port}`);
    await reach(loop, { port }, { lookup });
    assert.equal(asked, [
      ['a.example', true, 0],
      ['localhost', true, 0],
    ]);
  });

  test('takes an answer of one address, and resolves by itself without a lookup', async ({ loop, defer }) => {
    const { port } = listen(defer, { port: 0 });
    const lookup: LookupFunction = (_host, _options, callback) => callback(null, '127.0.0.1', 4);
    assert.is(await reach(loop, { host: 'a.example', port }, { lookup }), `127.0.0.1:${port}`);
    assert.is(await reach(loop, { host: 'localhost', port }), `127.0.0.1:${port}`);
  });

  test('goes on at once where an address refuses', async ({ loop, defer }) => {
    const { port } = listen(defer, { host: '127.0.0.1', port: 0 });
    const options = { lookup: answering('::1', '127.0.0.1'), attemptDelayMs: 1e6 };
    assert.is(await reach(loop, { host: 'a.example', port }, options), `127.0.0.1:${port}`);
  });

  test('goes on after the attempt delay where an address is silent', async ({ loop, defer }) => {
    const { port } = listenFull(defer, { host: '::1', port: 0 });
    listen(defer, { host: '127.0.0.1', port });
    const begun = loop.time();
    const lookup = answering('::1', '127.0.0.1');
    assert.is(await reach(loop, { host: 'a.example', port }, { lookup }), `127.0.0.1:${port}`);
    assert.ok(loop.time() - begun >= 250, 'the second attempt began too early');
  });

  test('tries the families in turn, the one answered first before the other', async ({ loop, defer }) => {
    const { port } = listen(defer, { host: '::1', port: 0 });
    // The address that listens is the third of the answer, and the second to be tried.
    const lookup = answering('127.0.0.1', '127.0.0.2', '::1');
    listenFull(defer, { host: '127.0.0.2', port });
    const options = { lookup, attemptDelayMs: 1e6 };
    assert.is(await reach(loop, { host: 'a.example', port }, options), `[::1]:${port}`);
  });

  test('does not give up a slow attempt for a later one that fails', async ({ loop, defer }) => {
    const { listener, port } = listenFull(defer, { host: '127.0.0.1', port: 0 });
    const lookup: LookupFunction = (_host, _options, callback) => {
      callback(null, [
        { address: '127.0.0.1', family: 4 },
        { address: '127.0.0.2', family: 4 },
      ]);
      // Room for the first one, whose SYN the kernel sends again after a second.
      loop.callLater(50, () => closeFd(acceptSocket(listener)));
    };
    const options = { lookup, attemptDelayMs: 10 };
    assert.is(await reach(loop, { host: 'a.example', port }, options), `127.0.0.1:${port}`);
  });

  test('fails with the errno, the address and the port', async ({ loop }) => {
    const port = freePort('127.0.0.1');
    const error = await systemError(dial(loop, { host: '127.0.0.1', port }));
    assert.is(error.code, 'ECONNREFUSED');
    assert.is(error.syscall, 'connect');
    assert.is(error.address, '127.0.0.1');
    assert.is(error.port, port);
    assert.is(error.cause, undefined);
  });

  test('fails with the first address that had a route, the others in its cause', async ({ loop }) => {
    const port = freePort('127.0.0.1');
    const lookup = answering('255.255.255.255', '127.0.0.2', '127.0.0.3');
    const error = await systemError(dial(loop, { host: 'a.example', port }, { lookup }));
    assert.is(error.address, '127.0.0.2');
    assert.is(error.code, 'ECONNREFUSED');
    assert.instance(error.cause, AggregateError);
    const others = error.cause instanceof AggregateError ? error.cause.errors : [];
    assert.equal(
      others.map(({ code, address }) => [code, address]),
      [
        ['ENETUNREACH', '255.255.255.255'],
        ['ECONNREFUSED', '127.0.0.3'],
      ],
    );
  });

  test('tries 16 addresses at most, each once', async ({ loop }) => {
    const port = freePort('127.0.0.1');
    const many = Array.from({ length: 10_000 }, (_, i) => `127.1.${i >> 8}.${i & 255}`);
    const lookup = answering('127.1.0.0', ...many);
    const error = await systemError(dial(loop, { host: 'a.example', port }, { lookup }));
    assert.is(error.address, '127.1.0.0');
    const others = error.cause instanceof AggregateError ? error.cause.errors : [];
    assert.equal(
      others.map(({ address }) => address),
      many.slice(1, 16),
    );
  });

  test('refuses a socket that connected to itself', async ({ loop }) => {
    const port = freePort('127.0.0.1');
    const target = { host: '127.0.0.1', port, localAddress: '127.0.0.1', localPort: port };
    assert.is((await systemError(dial(loop, target))).code, 'ECONNREFUSED');
    // Nothing of it is left that would keep a server from the port.
    closeFd(listenSocket({ port }));
  });
});

suite('dial with a local address', (test) => {
  test('comes from there', async ({ loop, defer }) => {
    const { listener, port } = listen(defer, { port: 0 });
    const localPort = freePort('127.0.0.7');
    const target = { host: '127.0.0.1', port, localAddress: '127.0.0.7', localPort };
    const { fd } = await dial(loop, target);
    defer(() => closeFd(fd));
    const accepted = acceptSocket(listener);
    defer(() => closeFd(accepted));
    assert.is(String(peerAddress(accepted)), `127.0.0.7:${localPort}`);
  });

  test('takes answers of its family alone', async ({ loop, defer }) => {
    const { port } = listen(defer, { host: '127.0.0.1', port: 0 });
    listen(defer, { host: '::1', port });
    const families: unknown[] = [];
    const lookup: LookupFunction = (_host, options, callback) => {
      families.push(options.family);
      callback(null, [
        { address: '::1', family: 6 },
        { address: '127.0.0.1', family: 4 },
      ]);
    };
    const from = (localAddress: string): Promise<string> =>
      reach(loop, { host: 'a.example', port, localAddress }, { lookup });
    assert.is(await from('127.0.0.1'), `127.0.0.1:${port}`);
    assert.is(await from('::1'), `[::1]:${port}`);
    assert.equal(families, [4, 6]);
  });

  test('says so when the name has no address of its family', async ({ loop }) => {
    const target = { host: 'a.example', port: 1, localAddress: '::1' };
    const error = await systemError(dial(loop, target, { lookup: answering('127.0.0.1') }));
    assert.is(error.code, 'EAI_NODATA');
    assert.match(error.message, 'a.example of IPv6');
  });

  test('says so when it is not of this machine', async ({ loop }) => {
    const target = { host: '127.0.0.1', port: 1, localAddress: '203.0.113.1' };
    const error = await systemError(dial(loop, target));
    assert.is(error.code, 'EADDRNOTAVAIL');
    assert.match(error.message, '203.0.113.1');
  });

  test('tries one address after the other where the port is fixed', async ({ loop, defer }) => {
    const { port } = listen(defer, { host: '127.0.0.3', port: 0 });
    const silent = listenSocket({ host: '127.0.0.2', port, backlog: 0 });
    const filler = connectSocket({ host: '127.0.0.2', port });
    defer(() => closeFd(filler));
    // The kernel sends the SYN again after a second, and is refused then.
    loop.callLater(50, () => closeFd(silent));
    const options = { lookup: answering('127.0.0.2', '127.0.0.3'), attemptDelayMs: 0 };
    const target = { host: 'a.example', port, localPort: freePort('127.0.0.1') };
    assert.is(await reach(loop, target, options), `127.0.0.3:${port}`);
  });
});

suite('dial in the Unix domain', (test) => {
  test('connects to a path', async ({ loop, defer }) => {
    const path = join(makeDirectory(defer), 's');
    listen(defer, { path });
    assert.is(await reach(loop, { path }), path);
  });

  if (process.platform === 'linux')
    test('connects to an abstract name, NULs inside included', async ({ loop, defer }) => {
      const path = `\0ioloop-${process.pid}\0dial`;
      listen(defer, { path });
      const { fd, remote } = await dial(loop, { path });
      closeFd(fd);
      assert.equal({ ...remote }, { family: 'Unix', path });
    });

  test('tells a path that is not there from one that nobody listens on', async ({ loop, defer }) => {
    const path = join(makeDirectory(defer), 's');
    const missing = await systemError(dial(loop, { path }));
    assert.is(missing.code, 'ENOENT');
    assert.is(missing.path, path);
    closeFd(listenSocket({ path }));
    assert.is((await systemError(dial(loop, { path }))).code, 'ECONNREFUSED');
  });

  test('refuses a path that does not fit, and names it', async ({ loop, defer }) => {
    const directory = makeDirectory(defer);
    const path = join(directory, 'x'.repeat(108 - directory.length - 1));
    assert.is(path.length, 108);
    const error = await systemError(dial(loop, { path }));
    assert.is(error.code, 'ENAMETOOLONG');
    assert.is(error.path, path);
    if (process.platform !== 'linux') return;
    const longest = path.slice(0, -1);
    listen(defer, { path: longest });
    assert.is(await reach(loop, { path: longest }), longest);
  });

  test('says when it may not', async ({ loop, defer }) => {
    const directory = makeDirectory(defer);
    const path = join(directory, 's');
    listen(defer, { path });
    chmodSync(directory, 0o755);
    chmodSync(path, 0);
    // Nothing is forbidden to root.
    const user = process.geteuid?.() ?? 0;
    if (user === 0) process.seteuid?.(65534);
    try {
      assert.is((await systemError(dial(loop, { path }))).code, 'EACCES');
    } finally {
      if (user === 0) process.seteuid?.(0);
    }
  });

  test('waits for room where the backlog is full', async ({ loop, defer }) => {
    const path = join(makeDirectory(defer), 's');
    const { listener } = listenFull(defer, { path });
    assert.throws(
      () => connectSocket({ path }),
      ({ errno }: SystemError) => errno === EAGAIN,
    );
    const dialed = reach(loop, { path });
    await nextTurn(loop);
    closeFd(acceptSocket(listener));
    assert.is(await dialed, path);
  });

  test('stops waiting for room with its time', async ({ loop, defer }) => {
    const path = join(makeDirectory(defer), 's');
    listenFull(defer, { path });
    assert.instance(await refusal(dial(loop, { path }, { timeoutMs: 20 })), TimeoutError);
    assert.equal(loop.resources(), []);
  });
});

suite('a dial that ends early', (test) => {
  /** A lookup that answers when it is told to, and a dial that waits for it. */
  function lookupHeld(): { lookup: LookupFunction; answer: () => void } {
    let callback: Parameters<LookupFunction>[2] | undefined;
    return {
      lookup: (_host, _options, answer) => {
        callback = answer;
      },
      answer: () => callback?.(null, [{ address: '127.0.0.1', family: 4 }]),
    };
  }

  test('by a signal that was aborted before looks nothing up', async ({ loop }) => {
    const lookup: LookupFunction = () => assert.unreachable('nobody waits for it');
    const signal = AbortSignal.abort('changed my mind');
    const error = await refusal(dial(loop, { host: 'a.example', port: 1 }, { lookup, signal }));
    assert.instance(error, AbortError);
    assert.is(error.cause, 'changed my mind');
  });

  for (const [how, end] of [
    ['by its signal', (controller: AbortController) => ({ signal: controller.signal, timeoutMs: 60_000 })],
    ['by its time', () => ({ timeoutMs: 5 })],
  ] as const) {
    const kind = how === 'by its signal' ? AbortError : TimeoutError;

    test(`${how} during the lookup drops the answer`, async ({ loop, defer }) => {
      const { listener, port } = listen(defer, { port: 0 });
      const controller = new AbortController();
      const { lookup, answer } = lookupHeld();
      const dialed = dial(loop, { host: 'a.example', port }, { ...end(controller), lookup });
      assert.ok(
        loop.resources().some(({ referenced }) => referenced),
        'nothing keeps the process alive',
      );
      controller.abort();
      assert.instance(await refusal(dialed), kind);
      assert.equal(getEventListeners(controller.signal, 'abort'), []);
      answer();
      await nextTurn(loop);
      assert.equal(loop.resources(), []);
      assert.is(acceptSocket(listener), EAGAIN);
    });

    test(`${how} while two attempts are under way closes both`, async ({ loop, defer }) => {
      const { port } = listenFull(defer, { host: '127.0.0.1', port: 0 });
      listenFull(defer, { host: '::1', port });
      const controller = new AbortController();
      const lookup = answering('::1', '127.0.0.1');
      const options = { ...end(controller), lookup, attemptDelayMs: 0 };
      if (how === 'by its time') options.timeoutMs = 50;
      const dialed = dial(loop, { host: 'a.example', port }, options);
      for (let turn = 0; turn < 3; turn++) await nextTurn(loop);
      assert.is(loop.resources().filter(({ kind }) => kind === 'handler').length, 2);
      controller.abort();
      assert.instance(await refusal(dialed), kind);
      assert.equal(loop.resources(), []);
      assert.equal(getEventListeners(controller.signal, 'abort'), []);
    });
  }

  // The connection is ready in the first turn, where timers come before handlers and callbacks after.
  test('in the turn in which it connects, before that, closes what has connected', async ({
    loop,
    defer,
  }) => {
    const { port } = listen(defer, { port: 0 });
    const controller = new AbortController();
    const dialed = dial(loop, { host: '127.0.0.1', port }, { signal: controller.signal });
    loop.callLater(0, () => controller.abort());
    assert.instance(await refusal(dialed), AbortError);
    assert.equal(loop.resources(), []);
  });

  test('in the turn in which it connects, but after that, comes too late', async ({ loop, defer }) => {
    const { port } = listen(defer, { port: 0 });
    const controller = new AbortController();
    const dialed = reach(loop, { host: '127.0.0.1', port }, { signal: controller.signal });
    await Promise.resolve();
    loop.addCallback(() => controller.abort());
    assert.is(await dialed, `127.0.0.1:${port}`);
  });

  test('leaves no listener on the signal of one that connected', async ({ loop, defer }) => {
    const { port } = listen(defer, { port: 0 });
    const { signal } = new AbortController();
    await reach(loop, { host: '127.0.0.1', port }, { signal });
    assert.equal(getEventListeners(signal, 'abort'), []);
  });
});

suite('dial with a hostile lookup', (test) => {
  const target = { host: 'a.example', port: 1 };

  test('fails as the lookup does, thrown or answered', async ({ loop }) => {
    const failure = new Error('no resolver');
    const throwing: LookupFunction = () => {
      throw failure;
    };
    assert.is(await refusal(dial(loop, target, { lookup: throwing })), failure);
    const failing: LookupFunction = (_host, _options, callback) => callback(failure, []);
    assert.is(await refusal(dial(loop, target, { lookup: failing })), failure);
  });

  for (const [what, answer] of [
    ['a name', ['b.example']],
    ['no address', [null]],
    ['an object without one', [{ family: 4 }]],
    ['a number', [{ address: 127, family: 4 }]],
    ['two zones', ['fe80::1%a%b']],
  ] as const)
    test(`refuses an answer that is ${what}`, async ({ loop }) => {
      const error = await refusal(dial(loop, target, { lookup: answering(...answer) }));
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'), String(error));
      assert.match(error.message, 'what lookup answers must be IP addresses');
    });

  test('says so when the answer is empty', async ({ loop }) => {
    assert.is((await systemError(dial(loop, target, { lookup: answering() }))).code, 'EAI_NODATA');
  });

  test('believes the address, not the family that the answer gives it', async ({ loop, defer }) => {
    const { port } = listen(defer, { port: 0 });
    const lookup = answering({ address: '127.0.0.1', family: 6 });
    assert.is(await reach(loop, { host: 'a.example', port }, { lookup }), `127.0.0.1:${port}`);
  });

  test('takes the first of two answers', async ({ loop, defer }) => {
    const { port } = listen(defer, { port: 0 });
    const lookup: LookupFunction = (_host, _options, callback) => {
      callback(null, '127.0.0.1', 4);
      callback(new Error('again'), '');
    };
    assert.is(await reach(loop, { host: 'a.example', port }, { lookup }), `127.0.0.1:${port}`);
  });
});

suite('the arguments of dial', (test) => {
  for (const [name, target, options] of [
    ['target', undefined, {}],
    ['target.port', { host: '::1' }, {}],
    ['target.port', { port: 65_536 }, {}],
    ['target.host', { host: '', port: 1 }, {}],
    ['target.host', { host: 'a\0b', port: 1 }, {}],
    ['target.localAddress', { port: 1, localAddress: 'localhost' }, {}],
    ['target.localPort', { port: 1, localPort: -1 }, {}],
    ['target.path', { path: '' }, {}],
    ['target.path', { path: 'a\0b' }, {}],
    ['target.path', { path: 1 }, {}],
    ['options.signal', { port: 1 }, { signal: {} }],
    ['options.timeoutMs', { port: 1 }, { timeoutMs: '1' }],
    ['options.lookup', { port: 1 }, { lookup: 'dns' }],
  ] as const)
    test(`${name} of ${JSON.stringify({ ...target, ...options })} is refused`, async ({ loop }) => {
      const error = await refusal(dial(loop, target as never, options as never));
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'), String(error));
      assert.match(error.message, `${name} must be`);
      assert.equal(loop.resources(), []);
    });
});
