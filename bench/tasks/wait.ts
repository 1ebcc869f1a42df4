// One wait of a loop driven by hand, with idle descriptors watched.
//
// usage: wait.ts BACKEND IDLE SECONDS
import { Interest, IOLoop } from 'ioloop';
import { acceptSocket, connectSocket, listenSocket, recv, send, socketAddress } from 'ioloop/raw';

const [backend, idleText, secondsText] = process.argv.slice(2);
const loop = new IOLoop({ backend, drive: 'manual' });
const listener = listenSocket({ host: '127.0.0.1', port: 0 });

/** Two connected sockets. Both ends serve as idle descriptors, so a thousand take five hundred pairs. */
function connectPair(): readonly [number, number] {
  const address = socketAddress(listener);
  if (address.family === 'Unix') throw new Error('the listener has no port');
  const client = connectSocket({ host: '127.0.0.1', port: address.port });
  const accepted = acceptSocket(listener);
  if (accepted < 0) throw new Error(`accept answered ${accepted}`);
  return [client, accepted];
}

/** CPU nanoseconds of one runOnce(0), each of which must call `expected` handlers. */
function measure(expected: number): number {
  const limitMs = (Number(secondsText) * 1_000) / 2;
  const callsBefore = calls;
  const before = process.cpuUsage();
  const end = performance.now() + limitMs;
  let waits = 0;
  do {
    for (let i = 0; i < 16; i++) loop.runOnce(0);
    waits += 16;
  } while (performance.now() < end);
  const used = process.cpuUsage(before);
  if (calls - callsBefore !== waits * expected) {
    throw new Error(`${calls - callsBefore} handlers were called in ${waits} waits`);
  }
  return ((used.user + used.system) * 1e3) / waits;
}

let calls = 0;
const count = (): void => {
  calls++;
};
const idle = Number(idleText);
const ends: number[] = [];
while (ends.length < idle) ends.push(...connectPair());
for (const fd of ends.slice(0, idle)) loop.addHandler(fd, count, Interest.READ);
const [near, far] = connectPair();
loop.addHandler(near, count, Interest.READ);

const byte = new Uint8Array(1);
measure(0); // warm-up
const emptyNs = measure(0);
send(far, byte);
const oneReadyNs = measure(1); // nobody reads it: level-triggered, it is ready again each time
recv(near, byte);

// Idle, not forgotten: the last one watched still wakes the loop.
const last = ends.at(idle % 2 === 0 ? -2 : -1);
if (idle > 1 && last !== undefined) {
  const callsBefore = calls;
  send(last, byte);
  loop.runOnce(1_000);
  if (calls === callsBefore) throw new Error('an idle descriptor became ready and nobody was told');
}
console.log(JSON.stringify({ emptyNs, oneReadyNs }));
await loop.close();
