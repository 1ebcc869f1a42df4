/**
 * A server of one byte in a process that runs out of descriptors. It obeys lines on its standard input
 * and answers each with a line of JSON.
 */
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

import { Interest, IOLoop } from '../../src/index.ts';
import { closeStream, send } from '../../src/native.ts';
import { bindSockets } from '../../src/net/bind-sockets.ts';
import { Listener, type ListenerOwner } from '../../src/net/listener.ts';
import { socketAddress } from '../../src/raw.ts';
import { leaveDescriptors } from '../support/scarcity.ts';

const loop = new IOLoop({ backend: process.argv[2] });
const hoard: number[] = [];
const errors: string[] = [];
let open = 0;
let dropped = 0;
let listener: Listener | undefined;

const owner: ListenerOwner = {
  hasRoom: () => true,
  onConnection(fd) {
    open++;
    send(fd, Buffer.from('+'));
    const onEnd = (): void => {
      loop.removeHandler(fd);
      closeStream(fd);
      open--;
    };
    loop.addHandler(fd, onEnd, Interest.READ);
  },
  onDrop(reason) {
    if (reason === 'descriptors') dropped++;
    // Opens what it can get, as a log would: the reserve must be back by then.
    hoardDescriptors();
  },
  onError: (error) => errors.push(String(error)),
};

/** Opens files until there are no descriptors left. */
function hoardDescriptors(): void {
  for (;;) {
    try {
      hoard.push(openSync('/dev/null', 'r'));
    } catch {
      return;
    }
  }
}

const [fd = -1] = await bindSockets(0, '127.0.0.1');
leaveDescriptors(40);
const commands: Record<string, () => unknown> = {
  listen: () => {
    listener = new Listener(loop, fd, owner);
  },
  hoard: hoardDescriptors,
  free: () => {
    for (const held of hoard.splice(0, 8)) closeSync(held);
  },
  // The turns of a while in which nobody asks for any.
  turns: async () => {
    const before = loop.metrics().turns;
    await delay(500);
    return loop.metrics().turns - before;
  },
  report: () => ({ open, dropped, shed: listener?.shed, errors, ...socketAddress(fd) }),
};
for await (const line of createInterface(process.stdin))
  console.log(JSON.stringify((await commands[line]?.()) ?? null));
listener?.stop();
process.exit();
