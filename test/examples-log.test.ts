import * as assert from 'uvu/assert';

import { runFile } from './support/child.ts';
import { connectTo } from './support/clients.ts';
import { example, startExample } from './support/examples.ts';
import { suite } from './support/suite.ts';

/** What the tests read of a line of the log. */
interface Entry {
  readonly level: number;
  readonly msg: string;
  readonly connection?: number;
  readonly address?: string;
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
  readonly err?: { readonly message: string };
}

const [INFO, WARN, ERROR] = [30, 40, 50];

function entriesOf(text: string): Entry[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line): Entry => JSON.parse(line));
}

suite('examples/structured-log.ts', { limitMs: 30_000 }, (test) => {
  test('logs who comes, leaves, fails and breaks, one object a line', async ({ defer }) => {
    const server = await startExample('structured-log', defer, { args: ['--port=0'] });
    const [listening] = entriesOf(await server.said(/\n/));
    const port = Number(listening?.address?.split(':')[1]);
    const connect = () => connectTo({ host: '127.0.0.1', port }, defer);

    assert.is(await connect().end('hello\n').all(), 'hello\n');
    await server.said(/"closed"/);
    await connect().send('throw\n').all();
    await server.said(/"broken"/);
    const leaving = connect().send('+\n');
    await leaving.heard('+\n');
    leaving.reset();
    await server.said(/ECONNRESET/);
    assert.is(await server.end(), '');

    const { stdout } = await server.child.result;
    const told = entriesOf(stdout).map(({ level, msg, connection, bytesRead, bytesWritten, err }) => [
      level,
      msg,
      connection,
      bytesRead,
      bytesWritten,
      err?.message.includes('ECONNRESET') ? 'ECONNRESET' : err?.message,
    ]);
    assert.equal(told, [
      [INFO, 'listening', undefined, undefined, undefined, undefined],
      [INFO, 'opened', 1, undefined, undefined, undefined],
      [INFO, 'closed', 1, 6, 6, undefined],
      [INFO, 'opened', 2, undefined, undefined, undefined],
      [ERROR, 'failed', 2, undefined, undefined, 'asked for'],
      [WARN, 'broken', 2, 6, 0, 'asked for'],
      [INFO, 'opened', 3, undefined, undefined, undefined],
      [WARN, 'broken', 3, 2, 2, 'ECONNRESET'],
      [INFO, 'stopped', undefined, undefined, undefined, undefined],
    ]);
  });

  test('names a level that there is not', async () => {
    const { stderr, code } = await runFile(example('structured-log'), { args: ['--level=loud'] });
    assert.equal([stderr, code], ['--level must be one of trace, debug, info, warn, error, fatal\n', 1]);
  });
});
