/**
 * The classic reactor exercise: one process, one loop, two services on loopback.
 *
 *   npm start                      serves until Ctrl-C
 *   npm start -- --once            serves one real client of each, then exits
 *   npm start -- --poem-port 0 --echo-port 0 --backend poll
 */
import { parseArgs } from 'node:util';
import { IOLoop, IOLoopError, IOStream, PeriodicCallback, SystemError, TCPServer } from 'ioloop';

// Emily Dickinson, 1861.
const POEM = `"Hope" is the thing with feathers -
That perches in the soul -
And sings the tune without the words -
And never stops - at all -
`;

/** Connect, get the poem, the server closes. */
const servePoem = (stream: IOStream): Promise<void> => stream.write(POEM);

/** What you send comes back; a client that reads slowly is read slowly. */
async function serveEcho(stream: IOStream): Promise<void> {
  for await (const chunk of stream) await stream.write(chunk);
}

/** Everything a client on `port` gets after sending `text`. */
async function fetchAll(port: number, text: string): Promise<string> {
  const stream = await IOStream.connect({ host: '127.0.0.1', port });
  await stream.end(text);
  return (await stream.readUntilClose()).toString();
}

async function checkBoth(poemPort: number, echoPort: number): Promise<void> {
  const poem = await fetchAll(poemPort, '');
  if (poem !== POEM) throw new Error(`the poem came as ${JSON.stringify(poem)}`);
  console.log(`\n${poem}`);
  const answer = await fetchAll(echoPort, 'hello, loop\n');
  if (answer !== 'hello, loop\n') throw new Error(`the echo came as ${JSON.stringify(answer)}`);
  console.log(`echo: ${answer}`);
}

function readPort(text: string, name: string): number {
  const port = Number(text);
  if (text.trim() !== '' && Number.isInteger(port) && port >= 0 && port <= 65535) return port;
  throw new RangeError(`--${name} must be a port from 0 to 65535, not ${JSON.stringify(text)}`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      once: { type: 'boolean', default: false },
      backend: { type: 'string', default: 'auto' },
      'poem-port': { type: 'string', default: '7001' },
      'echo-port': { type: 'string', default: '7002' },
    },
  });
  // With --once nobody needs to know the ports, so that two runs side by side do not collide.
  const portFor = (name: 'poem-port' | 'echo-port'): number =>
    values.once ? 0 : readPort(values[name], name);
  const wanted = { poem: portFor('poem-port'), echo: portFor('echo-port') };
  let served = 0;
  const counted = (handler: (stream: IOStream) => Promise<void>) => (stream: IOStream) => {
    stream.onClose(() => served++);
    return handler(stream);
  };
  // Closes the servers and what they serve at the end.
  await using loop = new IOLoop({ backend: values.backend });
  const poem = await new TCPServer(counted(servePoem)).listen(wanted.poem, '127.0.0.1');
  const echo = await new TCPServer(counted(serveEcho)).listen(wanted.echo, '127.0.0.1');
  console.log(`ioloop on ${loop.backend}, process ${process.pid}`);
  console.log(`  a poem:  nc ${poem.address} ${poem.port}`);
  console.log(`  an echo: nc ${echo.address} ${echo.port}`);
  if (values.once) return await checkBoth(poem.port, echo.port);

  console.log('Ctrl-C ends it.');
  const status = new PeriodicCallback(() => {
    const { turns, events, busyMs, streams } = loop.metrics();
    console.log(
      `turns ${turns}  events ${events}  busy ${busyMs.toFixed(1)} ms  clients ${streams}  served ${served}`,
    );
  }, 1000);
  status.start();
  process.once('SIGINT', () => loop.stop()).once('SIGTERM', () => loop.stop());
  await loop.start();
}

main().catch((error: unknown) => {
  const known = error instanceof SystemError || error instanceof RangeError || error instanceof TypeError;
  console.error(known || IOLoopError.is(error) ? error.message : error);
  if (error instanceof SystemError && error.code === 'EADDRINUSE')
    console.error('Something listens there already: choose others with --poem-port and --echo-port.');
  process.exitCode = 1;
});
