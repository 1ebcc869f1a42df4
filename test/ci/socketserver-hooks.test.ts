import * as assert from 'uvu/assert';

import { IOLoop } from '../../src/index.ts';
import { startPython } from '../support/peers.ts';
import { kinds, noteSteps, override, until } from '../support/request-servers.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

/** What goes wrong with the request. */
type Story = 'nothing' | 'handle' | 'verify' | 'process' | 'timeout';

/** A server of Python's socketserver that notes its hooks while it handles one request of its own client. */
const PYTHON = `
import contextlib, io, os, socket, socketserver, sys, tempfile
kind, story = sys.argv[1:]
steps = []
def hook(name):
    def step(self, *args):
        steps.append(name)
        if name == story + '_request':
            if story == 'verify':
                return False
            raise RuntimeError('on purpose')
        return getattr(super(Server, self), name)(*args)
    return step
class Handler(socketserver.BaseRequestHandler):
    def setup(self):
        steps.append('setup')
    def handle(self):
        steps.append('handle')
        if story == 'handle':
            raise RuntimeError('on purpose')
    def finish(self):
        steps.append('finish')
Base = getattr(socketserver, kind)
names = ['verify_request', 'process_request', 'finish_request', 'handle_error', 'handle_timeout', 'shutdown_request']
Server = type('Server', (Base,), {name: hook(name) for name in names})
Server.timeout = 0.02 if story == 'timeout' else 10
with tempfile.TemporaryDirectory() as directory, \\
     Server(os.path.join(directory, 's') if 'Unix' in kind else ('127.0.0.1', 0), Handler) as server, \\
     socket.socket(server.address_family, server.socket_type) as client:
    if story != 'timeout':
        client.connect(server.server_address)
        client.send(b'x')
    with contextlib.redirect_stderr(io.StringIO()):
        server.handle_request()
print(' '.join(steps))`;

/** Our names of its kinds, and its own. */
const NAMES: Readonly<Record<string, string>> = {
  TCPServer: 'TCPServer',
  UnixServer: 'UnixStreamServer',
  UDPServer: 'UDPServer',
  UnixDatagramServer: 'UnixDatagramServer',
};

function camelCase(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

async function stepsOfPython(kind: string, story: Story, { defer }: TestContext): Promise<string[]> {
  const steps = await within(20_000, startPython(defer, PYTHON, kind, story).finish(), 'the steps of Python');
  const names = steps.trim().split(' ');
  // The handler's own steps are told of in test/net/request-handlers.test.ts.
  return names.filter((name) => !['setup', 'handle', 'finish'].includes(name)).map(camelCase);
}

async function stepsOfOurs(kind: (typeof kinds)[number], story: Story, context: TestContext) {
  const fail = (): never => {
    throw new Error('on purpose');
  };
  const { server, listen, ask } = kind.make(context, story === 'handle' ? fail : () => {}, () => {});
  const steps = noteSteps(server);
  const note = (name: string, then: (base: () => unknown) => unknown) => (base: () => unknown) => {
    steps.push(name);
    return then(base);
  };
  if (story === 'verify') override(server, { verifyRequest: note('verifyRequest', () => false) });
  if (story === 'process') override(server, { processRequest: note('processRequest', fail) });
  override(server, { handleTimeout: note('handleTimeout', (base) => base()) });
  await listen({ startServing: false });
  if (story !== 'timeout') void ask('x');
  await within(10_000, server.handleRequest({ timeoutMs: story === 'timeout' ? 20 : 10_000 }), 'the request');
  await until(context.loop, 'the last step', () => steps.length > 0);
  return steps;
}

for (const backend of IOLoop.backends)
  suite(`the hooks of socketserver and ours on ${backend}`, { backend, limitMs: 30_000 }, (test) => {
    for (const kind of kinds) {
      const name = NAMES[kind.name];
      if (name === undefined) continue;
      for (const story of ['nothing', 'handle', 'process', 'timeout'] as const)
        test(`are called alike in a ${name}; what goes wrong: ${story}`, async (context) => {
          const theirs = await stepsOfPython(name, story, context);
          assert.ok(theirs.length > 0);
          assert.equal(await stepsOfOurs(kind, story, context), theirs);
        });

      test(`are called alike in a ${name} that refuses, but for a connection that never was`, async (context) => {
        const theirs = await stepsOfPython(name, 'verify', context);
        assert.equal(theirs, ['verifyRequest', 'shutdownRequest']);
        const ours = kind.connects ? ['verifyRequest'] : theirs;
        assert.equal(await stepsOfOurs(kind, 'verify', context), ours);
      });
    }
  });
