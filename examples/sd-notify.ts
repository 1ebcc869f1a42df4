/**
 * An echo server that tells its service manager how it is, by datagrams of sd_notify(3): it is ready,
 * it is alive, it stops.
 *
 *   socat -u UNIX-RECV:/tmp/ioloop-notify.sock STDOUT &
 *   NOTIFY_SOCKET=/tmp/ioloop-notify.sock WATCHDOG_USEC=4000000 \
 *     node --import tsx examples/sd-notify.ts [--port 7007] [--host 127.0.0.1]
 *
 * systemd sets both variables for a service with Type=notify and WatchdogSec=4. Signs of life come from
 * the loop itself: while something blocks it, there are none, and the service is started anew.
 */
import { parseArgs } from 'node:util';
import {
  IOLoop,
  IOLoopError,
  type IOStream,
  PeriodicCallback,
  SystemError,
  TCPServer,
  UnixDatagramSocket,
} from 'ioloop';

/** Whoever has started this process and wants to know how it is. */
class ServiceManager {
  /** Where it listens, undefined: nobody does. An abstract name begins with '@' there, and with NUL here. */
  readonly #path = process.env.NOTIFY_SOCKET?.replace(/^@/, '\0');
  readonly #socket = new UnixDatagramSocket();

  /** Says `assignments` in one datagram, as 'READY=1'. It may be started anew itself: that is no error of ours. */
  async tell(...assignments: readonly string[]): Promise<void> {
    if (this.#path === undefined) return;
    try {
      await this.#socket.send(`${assignments.join('\n')}\n`, this.#path);
    } catch (error) {
      console.error(`the service manager does not listen: ${error}`);
    }
  }

  /** After how many milliseconds of silence it ends this process; 0: never. sd_watchdog_enabled(3). */
  get patienceMs(): number {
    const { WATCHDOG_USEC = '0', WATCHDOG_PID = String(process.pid) } = process.env;
    return WATCHDOG_PID === String(process.pid) ? Number(WATCHDOG_USEC) / 1000 : 0;
  }
}

async function echo(stream: IOStream): Promise<void> {
  for await (const chunk of stream) await stream.write(chunk);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { port: { type: 'string', default: '7007' }, host: { type: 'string', default: '127.0.0.1' } },
  });
  await using loop = new IOLoop();
  const manager = new ServiceManager();
  const server = new TCPServer(echo);
  const address = await server.listen(Number(values.port), values.host);
  const alive = (): Promise<void> =>
    manager.tell('WATCHDOG=1', `STATUS=Echoing on ${address} for ${server.connections} clients`);
  // Half of it, as sd_watchdog_enabled(3) recommends.
  if (manager.patienceMs > 0) new PeriodicCallback(alive, manager.patienceMs / 2).start();
  loop.onStop(() => manager.tell('STOPPING=1'));
  process.once('SIGINT', () => loop.stop()).once('SIGTERM', () => loop.stop());
  console.log(`echoing on ${address}`);
  await manager.tell('READY=1', `STATUS=Echoing on ${address}`);
  await loop.start();
}

main().catch((error: unknown) => {
  const known = error instanceof SystemError || error instanceof TypeError || IOLoopError.is(error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
