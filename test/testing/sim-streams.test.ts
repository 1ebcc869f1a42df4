import * as assert from 'uvu/assert';

import type { IOLoop } from '../../src/index.ts';
import { TCPServer } from '../../src/net/tcp-server.ts';
import { IOStream } from '../../src/stream/io-stream.ts';
import type { SimOptions } from '../../src/testing/sim.ts';
import { drawFrames, readFrames, writeFrames } from '../support/frames.ts';
import { Random } from '../support/random.ts';
import { simNetwork } from '../support/sim.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count } from '../support/tier.ts';

const ROUGH: SimOptions = {
  maxDelayMs: 20,
  bufferSize: 2_048,
  shortRead: 0.5,
  shortWrite: 0.5,
  spuriousAgain: 0.2,
  interrupt: 0.1,
};
const CLIENTS = 4;
const FRAMES = 20;

/** Frames both ways between a server and its clients; every byte is checked. */
async function serveFrames(loop: IOLoop): Promise<void> {
  const allowHalfOpen = true;
  const exchange = async (stream: IOStream, from: number, to: number): Promise<void> => {
    const frames = (way: number) => drawFrames(new Random(way), FRAMES);
    await Promise.all([writeFrames(stream, frames(from)), readFrames(stream, frames(to))]);
    await stream.close();
  };
  const server = new TCPServer((stream) => exchange(stream, 1, 2), { loop, allowHalfOpen });
  const { port } = await server.listen(0, '127.0.0.1');
  const client = async (): Promise<void> => {
    const target = { host: '127.0.0.1', port };
    await exchange(await IOStream.connect(target, { loop, allowHalfOpen }), 2, 1);
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  await server.close();
}

suite('streams on a simulated network', (test) => {
  async function traceOf(context: TestContext, seed: number): Promise<string> {
    const network = simNetwork(context, { ...ROUGH, seed });
    const loop = network.createLoop();
    await network.run(() => serveFrames(loop));
    await network.advance(60_000);
    assert.is(network.openDescriptors, 0);
    return `${network.traceHash} at ${network.timeMs}`;
  }

  for (let seed = 1; seed <= count(3, 300); seed++)
    test(`lose nothing, whatever the network does: seed ${seed}`, async (context) => {
      await traceOf(context, seed);
    });

  test('do the same in two runs of a seed', async (context) => {
    assert.is(await traceOf(context, 1), await traceOf(context, 1));
  });

  test('are idle by the virtual clock', async (context) => {
    const network = simNetwork(context);
    const loop = network.createLoop();
    const [near, far] = network.connectPair();
    const stream = IOStream.fromFd(near, { loop, idleTimeoutMs: 3_600_000 });
    const peer = IOStream.fromFd(far, { loop });
    await network.advance(3_599_000);
    assert.not.ok(stream.closed);
    await network.advance(1_200);
    assert.ok(stream.closed);
    await network.run(() => Promise.all([stream.whenClosed, peer.close()]));
  });
});
