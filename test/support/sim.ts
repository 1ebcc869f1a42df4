import * as assert from 'uvu/assert';

import { SimNetwork, type SimOptions } from '../../src/testing/sim.ts';
import type { TestContext } from './suite.ts';

/** A simulated network that is closed with the test, when none of its descriptors may be open any more. */
export function simNetwork({ defer }: Pick<TestContext, 'defer'>, options?: SimOptions): SimNetwork {
  const network = new SimNetwork(options);
  defer(async () => {
    assert.is(network.openDescriptors, 0, 'simulated descriptors are left open');
    await network.close();
  });
  return network;
}
