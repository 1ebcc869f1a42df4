// Loaded into a JavaScript server before its own program: collects garbage at SIGUSR2 and says so, so
// that its memory can be read without what nobody holds any more. Needs --expose-gc.
const { gc } = globalThis;
if (gc === undefined) throw new Error('collect-on-signal needs --expose-gc');

process.on('SIGUSR2', () => {
  gc();
  // Twice: what the first one finalizes, in a task of its own, is garbage for the second.
  setImmediate(() => {
    gc();
    console.log('collected');
  });
});

export {};
