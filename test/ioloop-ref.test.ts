import * as assert from 'uvu/assert';

import { runInProject } from './support/package.ts';
import { suite } from './support/suite.ts';

const SETTING = `
  import { IOLoop, Waker } from 'ioloop';
  import * as raw from 'ioloop/raw';
  const loop = new IOLoop();
  const listener = raw.listenSocket({ port: 0 });
  const connect = () => raw.connectSocket({ port: raw.socketAddress(listener).port });
  const say = (word) => process.stdout.write(word + ' ');
  // Does not keep the process alive: what it does happens only if something else does.
  const soon = (callback) => setTimeout(callback, 50).unref();
`;

/** What a program says before it ends by itself. */
const PROGRAMS: readonly (readonly [name: string, source: string, says: string])[] = [
  ['nothing in it', ``, ''],
  [
    'a handler, until it is removed',
    `
    loop.addHandler(listener, () => { say('heard'); loop.removeHandler(listener); }, 1);
    soon(connect);`,
    'heard ',
  ],
  [
    'a handler without reference',
    `
    loop.addHandler(listener, () => say('heard'), 1);
    loop.setHandlerRef(listener, false);
    soon(connect);`,
    '',
  ],
  [
    'a handler with its reference taken back',
    `
    loop.addHandler(listener, () => { say('heard'); loop.removeHandler(listener); }, 1);
    loop.setHandlerRef(listener, false);
    loop.setHandlerRef(listener, true);
    soon(connect);`,
    'heard ',
  ],
  [
    'a handler that loses its reference in its call',
    `
    loop.addHandler(listener, () => {
      say('heard');
      raw.acceptSocket(listener);
      loop.setHandlerRef(listener, false);
    }, 1);
    soon(connect);`,
    'heard ',
  ],
  [
    'a handler whose promise is pending',
    `
    loop.addHandler(listener, async () => {
      say('heard');
      raw.acceptSocket(listener);
      await new Promise((resolve) => soon(resolve));
      say('settled');
      loop.removeHandler(listener);
    }, 1);
    soon(connect);`,
    'heard settled ',
  ],
  ['a timer', `loop.callLater(30, say, 'due');`, 'due '],
  ['a timer without reference', `loop.callLater(30, say, 'due').unref();`, ''],
  ['a timer with its reference taken back', `loop.callLater(30, say, 'due').unref().ref();`, 'due '],
  ['a cancelled timer', `loop.callLater(1e6, say, 'due').cancel();`, ''],
  [
    'a timer without reference beside one with',
    `
    loop.callLater(1, say, 'first').unref();
    loop.callLater(30, say, 'second');
    loop.callLater(1e6, say, 'third').unref();`,
    'first second ',
  ],
  [
    'a waker, until it is closed',
    `
    const waker = loop.createWaker(() => { say('awake'); waker.close(); });
    soon(() => waker.wake());`,
    'awake ',
  ],
  [
    'a waker without reference',
    `
    const waker = loop.createWaker(() => say('awake')).unref();
    soon(() => waker.wake());`,
    '',
  ],
  ['a callback', `loop.addCallback(say, 'called');`, 'called '],
  [
    'callbacks of callbacks',
    `
    loop.addCallback(() => loop.addCallback(() => loop.addCallback(say, 'called')));`,
    'called ',
  ],
  [
    'start(), until stop()',
    `
    loop.start().then(() => say('stopped'));
    soon(() => loop.stop());`,
    'stopped ',
  ],
  [
    'start() and a slow stop hook',
    `
    loop.onStop(() => new Promise((resolve) => soon(resolve)));
    loop.start().then(() => say('stopped'));
    loop.stop();`,
    'stopped ',
  ],
  [
    'run(), until its main is done',
    `
    loop.run(() => new Promise((resolve) => soon(resolve))).then(() => say('done'));`,
    'done ',
  ],
  [
    'all of it, in a loop without reference',
    `
    loop.addHandler(listener, () => say('heard'), 1);
    loop.callLater(30, say, 'due');
    loop.createWaker(() => {});
    void loop.start();
    loop.unref();
    soon(connect);`,
    '',
  ],
  [
    'a timer, in a loop whose reference was taken back',
    `
    loop.unref();
    loop.callLater(30, say, 'due');
    loop.ref();`,
    'due ',
  ],
  [
    'all of it, in a closed loop',
    `
    loop.addHandler(listener, () => say('heard'), 1);
    loop.callLater(30, say, 'due');
    loop.createWaker(() => {});
    void loop.start();
    await loop.close();
    say('closed');`,
    'closed ',
  ],
];

suite('a process ends exactly when its loop has no reference left', { limitMs: 60_000 }, (test) => {
  for (const [name, source, says] of PROGRAMS)
    test(`with ${name}`, async () => {
      const { code, signal, stdout, stderr } = await runInProject(SETTING + source);
      assert.is(stderr, '');
      assert.is(signal, null);
      assert.is(code, 0);
      assert.is(stdout, says);
    });
});
