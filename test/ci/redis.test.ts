import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';

import { startServer } from '../support/examples.ts';
import { suite } from '../support/suite.ts';

const run = promisify(execFile);

/** What a program of Debian's package "redis-tools" prints. */
async function redisTool(program: string, port: number, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await run(program, ['-p', String(port), ...args], { timeout: 60_000 });
  assert.is(stderr, '');
  return stdout;
}

suite('examples/redis-server.ts, with the tools of Redis', { limitMs: 120_000 }, (test) => {
  test('answers redis-cli', async ({ defer }) => {
    const redis = await startServer('redis-server', defer);
    const ask = (...words: string[]): Promise<string> => redisTool('redis-cli', redis.port, ...words);
    assert.is(await ask('PING'), 'PONG\n');
    assert.is(await ask('SET', 'poem', 'the thing with feathers'), 'OK\n');
    assert.is(await ask('GET', 'poem'), 'the thing with feathers\n');
    assert.is(await ask('INCR', 'visits'), '1\n');
    assert.is(await ask('-r', '3', 'INCR', 'visits'), '2\n3\n4\n');
    assert.is(await ask('EXPIRE', 'poem', '100'), '1\n');
    assert.is(await ask('DEL', 'poem', 'visits', 'none'), '2\n');
    assert.is(await ask('GET', 'poem'), '\n');
    assert.match(await ask('FLY'), /^ERR unknown command 'FLY'\n/);
    assert.is(await redis.end(), '');
  });

  for (const [how, ...options] of [
    ['one command at a time'],
    ['32 commands at a time', '-P', '32'],
    ['values of 16 KiB', '-d', '16384', '-P', '8'],
  ])
    test(`serves redis-benchmark, ${how}`, async ({ defer }) => {
      const redis = await startServer('redis-server', defer);
      const args = ['-q', '-n', '10000', '-c', '50', '-t', 'ping,set,get,incr', ...options];
      const results = await redisTool('redis-benchmark', redis.port, ...args);
      for (const name of ['PING_INLINE', 'PING_MBULK', 'SET', 'GET', 'INCR'])
        assert.match(results, new RegExp(`${name}: [\\d.]+ requests per second`));
      assert.not.match(results, /error/i);
      assert.is(await redis.end(), '');
    });
});
