import * as assert from 'uvu/assert';

import { runSource } from '../support/child.ts';
import { suite } from '../support/suite.ts';

/** A child's program that opens and ends streams, then says how many of them were collected. */
function program(end: string): string {
  return `
    import { IOLoop, IOStream, TCPServer } from './src/index.ts';
    const COUNT = 50;
    const loop = new IOLoop();
    let collected = 0;
    const registry = new FinalizationRegistry(() => { collected++; });
    const server = new TCPServer(async (stream) => {
      registry.register(stream);
      for await (const chunk of stream) await stream.write(chunk);
    }, { loop, idleTimeoutMs: 3_600_000 });
    const { port } = await server.listen(0, '127.0.0.1');
    // Lives on, so that the loop's streams are never none.
    const other = await IOStream.connect({ host: '127.0.0.1', port }, { loop, idleTimeoutMs: 3_600_000 });
    for (let i = 0; i < COUNT; i++) {
      await (async () => {
        const stream = await IOStream.connect({ host: '127.0.0.1', port }, { loop, idleTimeoutMs: 3_600_000 });
        registry.register(stream);
        await stream.write('ping\\n');
        await stream.readUntil('\\n', { timeoutMs: 3_600_000 });
        ${end}
        await stream.whenClosed;
      })();
    }
    const limit = performance.now() + 10_000;
    while (collected < 2 * COUNT && performance.now() < limit) {
      gc();
      await new Promise(setImmediate);
    }
    console.log(collected >= 2 * COUNT - 2 ? 'collected' : \`\${collected} of \${2 * COUNT} were collected\`);
    other.abort();
    await server.close({ graceMs: 0 });
    await loop.close();`;
}

suite('a stream that is closed', { limitMs: 30_000 }, (test) => {
  for (const end of ['void stream.close();', 'stream.abort();', 'void stream.end();'])
    test(`is collected, long before its timeouts are over: ${end}`, async () => {
      const { stdout, stderr, code } = await runSource(program(end), { execArgv: ['--expose-gc'] });
      assert.is(code, 0, stderr);
      assert.is(stdout, 'collected\n', stderr);
    });
});
