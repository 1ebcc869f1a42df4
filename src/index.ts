export type { Address, InetAddress, UnixAddress } from './address.ts';
export type { BackendName } from './backend.ts';
export {
  AbortError,
  IOLoopError,
  type IOLoopErrorCode,
  LimitError,
  SystemError,
  TimeoutError,
} from './errors.ts';
export type { Handler } from './handler.ts';
export { Interest, Ready } from './interest.ts';
export { IOLoop, type LoopMetrics, type LoopOptions, type WaitOptions } from './ioloop.ts';
export { PeriodicCallback } from './periodic-callback.ts';
export type { TimerHandle } from './timer.ts';
export { Waker, type WakerHandle } from './waker.ts';
