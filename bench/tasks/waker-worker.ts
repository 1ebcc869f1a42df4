// The worker of tasks/waker.ts: wakes, waits until the loop has seen it, pauses, wakes again.
import { parentPort, workerData } from 'node:worker_threads';
import { Waker } from 'ioloop';
import { WakeBoard } from './wake-board.ts';
import type { WakeOrder } from './waker.ts';

const { memory, count, handle }: WakeOrder = workerData;
const board = new WakeBoard(memory);
const waker = handle === undefined ? undefined : Waker.from(handle);

for (let sent = 1; sent <= count; sent++) {
  board.noteSend();
  if (waker === undefined) parentPort?.postMessage(null);
  else waker.wake();
  board.awaitArrival(sent);
}
