import * as assert from 'uvu/assert';

import { Interest, IOLoop, Ready } from '../../src/index.ts';
import { Random } from '../support/random.ts';
import { drain, poke, Sockets } from '../support/sockets.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { nextTurn } from '../support/turns.ts';

const SLOTS = 64;
const INTERESTS = [0, Interest.READ, Interest.WRITE, Interest.READ | Interest.WRITE];
const OPERATIONS = count(20_000, 1_000_000);

/** A descriptor as the model knows it. */
interface Slot {
  fd: number;
  far: number;
  /** Counts registrations, so that a handler knows whether it is the one that stands; 0: none does. */
  registration: number;
  interest: number;
  /** Bytes that wait to be read. */
  unread: number;
}

/** Changes descriptors at random, from inside their handlers, and checks each call against a model. */
class Storm {
  readonly #loop: IOLoop;
  readonly #sockets: Sockets;
  readonly #random: Random;
  readonly #slots: Slot[];
  #registrations = 0;
  operations = 0;
  delivered = 0;

  constructor(loop: IOLoop, sockets: Sockets, seed: number) {
    this.#loop = loop;
    this.#sockets = sockets;
    this.#random = new Random(seed);
    this.#slots = Array.from({ length: SLOTS }, () => {
      const [fd, far] = sockets.pair();
      return { fd, far, registration: 0, interest: 0, unread: 0 };
    });
  }

  /** One random operation. */
  step(): void {
    this.operations++;
    const slot = this.#slots[this.#random.below(SLOTS)];
    assert.ok(slot);
    switch (this.#random.below(6)) {
      case 0:
        this.#register(slot);
        break;
      case 1:
        this.#change(slot);
        break;
      case 2:
        this.#remove(slot);
        break;
      case 3:
        this.#reopen(slot, this.#random.below(2) === 0);
        break;
      default:
        poke(slot.far);
        slot.unread++;
    }
  }

  removeAll(): void {
    for (const slot of this.#slots) this.#remove(slot);
  }

  #register(slot: Slot): void {
    const interest = this.#interest();
    const registration = ++this.#registrations;
    const handler = (fd: number, events: number): void => this.#told(slot, registration, fd, events);
    if (slot.registration !== 0) {
      assert.throws(() => this.#loop.addHandler(slot.fd, handler, interest), /EEXIST/);
      return;
    }
    this.#loop.addHandler(slot.fd, handler, interest);
    slot.registration = registration;
    slot.interest = interest;
  }

  #change(slot: Slot): void {
    const interest = this.#interest();
    if (slot.registration === 0) {
      assert.throws(() => this.#loop.updateHandler(slot.fd, interest), /ENOENT/);
      return;
    }
    this.#loop.updateHandler(slot.fd, interest);
    slot.interest = interest;
  }

  #remove(slot: Slot): void {
    assert.is(this.#loop.removeHandler(slot.fd), slot.registration !== 0);
    slot.registration = 0;
  }

  /** Closes and opens again under the same number; `removed`: as it should be done, else behind the loop's back. */
  #reopen(slot: Slot, removed: boolean): void {
    const known = slot.registration !== 0;
    if (removed) this.#remove(slot);
    this.#sockets.close(slot.fd);
    this.#sockets.close(slot.far);
    slot.registration = 0;
    const [fd, far] = this.#sockets.pairAt(slot.fd);
    assert.is(fd, slot.fd);
    slot.far = far;
    slot.unread = 0;
    // What was never removed is not watched any more, but its row is: registering anew takes it over.
    if (!removed && known) this.#register(slot);
  }

  #told(slot: Slot, registration: number, fd: number, events: number): void {
    this.delivered++;
    assert.is(fd, slot.fd);
    assert.is(registration, slot.registration, 'a registration that is gone was told');
    assert.is(events & ~slot.interest, 0, 'told of what it does not watch');
    // Ready when the batch was filled, and nobody else reads: it still is.
    if ((events & Ready.READ) !== 0) {
      assert.ok(slot.unread > 0, 'told to read what its predecessor was sent');
      assert.is(drain(fd), slot.unread);
      slot.unread = 0;
    }
    for (let left = this.#random.below(4); left > 0; left--) this.step();
  }

  #interest(): number {
    return INTERESTS[this.#random.below(INTERESTS.length)] ?? 0;
  }
}

for (const backend of IOLoop.backends) {
  suite(`stale events on ${backend}`, { backend, limitMs: count(60_000, 1_800_000) }, (test) => {
    const seed = 20_261;
    test(`reach nobody in ${OPERATIONS} random changes inside batches, seed ${seed}`, async (context) => {
      const { loop, defer } = context;
      const storm = new Storm(loop, new Sockets(defer), seed);
      const errors: unknown[] = [];
      const note = (error: unknown): void => void errors.push(error);
      process.on('uncaughtException', note);
      defer(() => process.off('uncaughtException', note));
      while (storm.operations < OPERATIONS && errors.length === 0) {
        for (let step = 0; step < 16; step++) storm.step();
        await nextTurn(loop);
      }
      storm.removeAll();
      assert.equal(errors, []);
      // The storm did blow: handlers were called, and events were stale.
      assert.ok(storm.delivered > OPERATIONS / 20, `${storm.delivered} calls`);
      assert.ok(loop.metrics().staleEvents > OPERATIONS / 1000, `${loop.metrics().staleEvents} stale`);
      assert.is(loop.metrics().handlers, 0);
    });
  });
}
