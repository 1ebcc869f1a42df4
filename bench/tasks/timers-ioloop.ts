// Timers of the loop: callLater and cancel.
import { IOLoop } from 'ioloop';
import { measureTimers } from './timer-work.ts';

const loop = new IOLoop();
await measureTimers({
  earlyMs: 0,
  schedule: (delayMs, callback) => loop.callLater(delayMs, callback),
  cancel: (timer) => timer.cancel(),
});
await loop.close();
