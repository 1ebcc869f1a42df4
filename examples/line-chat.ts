/**
 * A chat for people with nc: your first line is your name, every further one goes to everybody.
 *
 *   node --import tsx examples/line-chat.ts [--port 7003] [--host 127.0.0.1]
 *
 * Nobody waits for a guest who reads slowly: more than 64 KiB behind for five seconds, or more than
 * 1 MiB, and the guest is out.
 */
import { parseArgs } from 'node:util';
import { IOLoop, IOLoopError, type IOStream, LimitError, SystemError, TCPServer } from 'ioloop';

const LIMITS = {
  maxConnections: 1000,
  softWriteBufferSize: 64 * 1024,
  softWriteTimeoutMs: 5_000,
  maxWriteBufferSize: 1024 * 1024,
};
const LONGEST_LINE = { maxBytes: 1000 };

const guests = new Map<string, IOStream>();

/** To everybody. Not awaited: a guest who reads slowly keeps nobody waiting. */
function tell(text: string): void {
  const line = Buffer.from(`${text}\n`);
  for (const stream of guests.values()) void stream.write(line);
}

/** Without control characters: the line's end, and what would play with the others' terminals. */
async function readLine(stream: IOStream): Promise<string> {
  const line = await stream.readUntil('\n', LONGEST_LINE);
  return line.toString().replace(/\p{Cc}/gu, '');
}

async function askName(stream: IOStream): Promise<string> {
  void stream.write('Your name: ');
  for (;;) {
    const name = await readLine(stream);
    if (!/^\p{L}[\p{L}\d_-]{0,19}$/u.test(name)) void stream.write('Up to 20 letters, please: ');
    else if (guests.has(name)) void stream.write(`${name} is here already. Your name: `);
    else return name;
  }
}

async function chat(stream: IOStream): Promise<void> {
  const name = await askName(stream);
  guests.set(name, stream);
  tell(`* ${name} came`);
  try {
    for (;;) tell(`${name}: ${await readLine(stream)}`);
  } catch (error) {
    if (error instanceof LimitError) void stream.write('* That line was too long.\n');
    throw error;
  } finally {
    guests.delete(name);
    tell(`* ${name} left`);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { port: { type: 'string', default: '7003' }, host: { type: 'string', default: '127.0.0.1' } },
  });
  await using loop = new IOLoop();
  const server = new TCPServer(chat, LIMITS);
  console.log(`chatting on ${await server.listen(Number(values.port), values.host)}`);
  process.once('SIGINT', () => loop.stop()).once('SIGTERM', () => loop.stop());
  await loop.start();
  tell('* The chat is closed.');
}

main().catch((error: unknown) => {
  const known = error instanceof SystemError || error instanceof TypeError || IOLoopError.is(error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
