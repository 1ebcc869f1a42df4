/**
 * Tells when files in a directory are finished: closed by whoever wrote them, or moved in.
 *
 * Node's fs.watch() cannot say that, and Node's own loop cannot watch an inotify(7) descriptor. This
 * loop watches any descriptor that the kernel can poll.
 *
 *   node --import tsx examples/finished-uploads.ts DIRECTORY [--count N]
 */
import { readSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Interest, IOLoop, SystemError } from 'ioloop';
import { closeFd, inotifyAddWatch, inotifyInit } from 'ioloop/raw';

const IN_CLOSE_WRITE = 0x8;
const IN_MOVED_TO = 0x80;
const HEADER = 16; // struct inotify_event before its name: wd, mask, cookie, len

/** The names in a buffer of events. */
function* namesIn(events: Buffer): Iterable<string> {
  for (let at = 0; at < events.length; ) {
    const length = events.readUInt32LE(at + 12);
    const name = events.toString('utf8', at + HEADER, at + HEADER + length);
    yield name.replace(/\0+$/, '');
    at += HEADER + length;
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { count: { type: 'string', default: 'Infinity' } },
});
const directory = positionals[0] ?? '.';
const loop = new IOLoop();
let left = Number(values.count);

try {
  const watcher = inotifyInit();
  inotifyAddWatch(watcher, directory, IN_CLOSE_WRITE | IN_MOVED_TO);
  const buffer = Buffer.alloc(64 * 1024);
  loop.addHandler(
    watcher,
    () => {
      for (const name of namesIn(buffer.subarray(0, readSync(watcher, buffer)))) {
        console.log(`finished: ${name}`);
        if (--left === 0) loop.stop();
      }
    },
    Interest.READ,
  );
  loop.onStop(() => {
    loop.removeHandler(watcher);
    closeFd(watcher);
  });
  process.once('SIGINT', () => loop.stop());
  console.log(`watching ${directory}`);
  await loop.start();
} catch (error) {
  console.error(error instanceof SystemError ? error.message : error);
  process.exitCode = 1;
} finally {
  await loop.close();
}
