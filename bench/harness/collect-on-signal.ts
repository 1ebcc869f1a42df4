// Loaded into a JavaScript server before its own program: collects garbage at SIGUSR2 and says so, so
// that its memory can be read without what nobody holds any more. Needs --expose-gc.
const { gc } = globalThis;
if (gc === undefined) throw new Error('collect-on-signal needs --expose-gc');

// What one finalizes is garbage for the next, and code that has not run for some is forgotten: without
// that, the loader of the first reading would be missing in the last.
const collections = 10;

function collect(left: number): void {
  gc?.();
  if (left > 1) setImmediate(collect, left - 1);
  else console.log('collected');
}

process.on('SIGUSR2', () => collect(collections));

export {};
