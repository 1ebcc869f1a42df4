// A worker wakes the main thread's loop, one wake-up at a time.
//
// usage: waker.ts message-port|ioloop-waker COUNT
import { Worker } from 'node:worker_threads';
import { IOLoop, type WakerHandle } from 'ioloop';
import { WakeBoard } from './wake-board.ts';

/** What the worker is given. */
export interface WakeOrder {
  readonly memory: SharedArrayBuffer;
  readonly count: number;
  /** Undefined: by its MessagePort. */
  readonly handle: WakerHandle | undefined;
}

const [way, countText] = process.argv.slice(2);
const count = Number(countText);
const board = new WakeBoard();
const samples: number[] = [];
let cpuBefore = process.cpuUsage();
let cpuUsed = cpuBefore;
const arrived = (): void => {
  samples.push(board.noteArrival());
  // From the first arrival to the last: starting and ending the worker is no part of it.
  if (samples.length === 1) cpuBefore = process.cpuUsage();
  if (samples.length === count) cpuUsed = process.cpuUsage(cpuBefore);
};

const waker = way === 'ioloop-waker' ? new IOLoop().createWaker(arrived) : undefined;
const order: WakeOrder = { memory: board.memory, count, handle: waker?.handle };
// Workers do not inherit the loader that --import tsx put into the main thread.
const program = JSON.stringify(new URL('./waker-worker.ts', import.meta.url));
const bootstrap = `import('tsx/esm/api').then(({ register }) => (register(), import(${program})))`;
const worker = new Worker(bootstrap, { eval: true, execArgv: [], workerData: order });
if (waker === undefined) worker.on('message', arrived);
worker.on('error', (error) => {
  throw error;
});
worker.on('exit', () => {
  waker?.close();
  if (samples.length !== count) throw new Error(`${samples.length} wake-ups arrived of ${count} sent`);
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(share * (count - 1))] ?? 0;
  const cpuUs = (cpuUsed.user + cpuUsed.system) / (count - 1);
  console.log(JSON.stringify({ p50Us: at(0.5), p99Us: at(0.99), cpuUs }));
});
