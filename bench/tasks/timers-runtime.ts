// Timers of the runtime itself: Node's or Bun's setTimeout.
import { measureTimers } from './timer-work.ts';

await measureTimers({
  earlyMs: 1, // both count in whole milliseconds
  schedule: (delayMs, callback) => setTimeout(callback, delayMs),
  cancel: (timer) => clearTimeout(timer),
});
