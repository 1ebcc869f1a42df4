import {
  type Address,
  DatagramSocket,
  IOStream,
  SeqpacketServer,
  SeqpacketSocket,
  type ServingOptions,
  TCPServer,
  type UDPRequest,
  UDPServer,
  type UnixDatagramRequest,
  UnixDatagramServer,
  UnixServer,
} from '../../src/index.ts';
import type { TestContext } from './suite.ts';
import { nextTurn } from './turns.ts';
import { UnixSockets } from './unix-sockets.ts';
import { within } from './within.ts';

/** What a server of any kind has. */
export type AnyServer = TCPServer | UnixServer | SeqpacketServer | UDPServer | UnixDatagramServer;
/** What its handler serves. */
export type AnyRequest = IOStream | SeqpacketSocket | UDPRequest | UnixDatagramRequest;

/** A server that answers each request by its text in capitals, and clients of it. */
export interface RequestServed {
  readonly server: AnyServer;
  /** Listens, once more: {@link ask} asks there. */
  readonly listen: (options?: ServingOptions) => Promise<Address>;
  /** Asks with a client of its own: what that is answered; '': the connection has ended. */
  readonly ask: (text: string) => Promise<string>;
}

/** What the handler of a {@link RequestServed} does first. */
export type Before = (request: AnyRequest) => void | Promise<void>;

/** A kind of server. */
export interface RequestKind {
  readonly name: string;
  /** Whether requests are connections. */
  readonly connects: boolean;
  readonly make: (context: TestContext, before?: Before, onError?: (error: unknown) => void) => RequestServed;
}

type Defer = TestContext['defer'];
type Closable = { close(): Promise<void> };

/** Closes `socket` with the test. */
function keep<Socket extends Closable>(socket: Socket, defer: Defer): Socket {
  defer(() => socket.close());
  return socket;
}

async function answerStream(stream: IOStream): Promise<void> {
  await stream.write(String(await stream.readUntil('\n')).toUpperCase());
}

async function askByStream(
  target: { port: number; host: string } | { path: string },
  text: string,
  { loop, defer }: TestContext,
): Promise<string> {
  const stream = await IOStream.connect(target, { loop });
  defer(() => stream.abort());
  void stream.write(`${text}\n`);
  const answer = await stream.readUntilClose().catch(() => '');
  return String(answer).trimEnd();
}

async function firstOf(socket: DatagramSocket | ReturnType<UnixSockets['open']>): Promise<string> {
  for await (const { data } of socket) return String(data);
  return '';
}

/** {@link RequestServed} over a path: it listens there, and is asked there. */
function atPaths(
  server: UnixServer | SeqpacketServer | UnixDatagramServer,
  sockets: UnixSockets,
  ask: (path: string, text: string) => Promise<string>,
): RequestServed {
  let path = '';
  return {
    server,
    listen: (options) => {
      path = sockets.path();
      return server.listen(path, options);
    },
    ask: (text) => ask(path, text),
  };
}

/** {@link RequestServed} over a port of IPv4's loopback. */
function atPorts(
  server: TCPServer | UDPServer,
  ask: (port: number, text: string) => Promise<string>,
): RequestServed {
  let port = 0;
  return {
    server,
    listen: async (options) => {
      const address = await server.listen(0, '127.0.0.1', options);
      port = address.port;
      return address;
    },
    ask: (text) => ask(port, text),
  };
}

/** All kinds of servers. */
export const kinds: readonly RequestKind[] = [
  {
    name: 'TCPServer',
    connects: true,
    make: (context, before, onError) => {
      const handler = async (stream: IOStream): Promise<void> => {
        await before?.(stream);
        await answerStream(stream);
      };
      const server = keep(new TCPServer(handler, { loop: context.loop, onError }), context.defer);
      return atPorts(server, (port, text) => askByStream({ port, host: '127.0.0.1' }, text, context));
    },
  },
  {
    name: 'UnixServer',
    connects: true,
    make: (context, before, onError) => {
      const handler = async (stream: IOStream): Promise<void> => {
        await before?.(stream);
        await answerStream(stream);
      };
      const sockets = new UnixSockets(context);
      const server = keep(new UnixServer(handler, { loop: context.loop, onError }), context.defer);
      return atPaths(server, sockets, (path, text) => askByStream({ path }, text, context));
    },
  },
  {
    name: 'SeqpacketServer',
    connects: true,
    make: (context, before, onError) => {
      const handler = async (socket: SeqpacketSocket): Promise<void> => {
        await before?.(socket);
        const message = await socket.receive();
        if (message !== null) await socket.send(String(message.data).toUpperCase());
      };
      const sockets = new UnixSockets(context);
      const server = keep(new SeqpacketServer(handler, { loop: context.loop, onError }), context.defer);
      return atPaths(server, sockets, async (path, text) => {
        const socket = keep(await SeqpacketSocket.connect({ path }, { loop: context.loop }), context.defer);
        await socket.send(text).catch(() => {});
        const message = await socket.receive().catch(() => null);
        return message === null ? '' : String(message.data);
      });
    },
  },
  {
    name: 'UDPServer',
    connects: false,
    make: (context, before, onError) => {
      const handler = async (request: UDPRequest): Promise<void> => {
        await before?.(request);
        await request.reply(String(request.data).toUpperCase());
      };
      const server = keep(new UDPServer(handler, { loop: context.loop, onError }), context.defer);
      return atPorts(server, async (port, text) => {
        const socket = keep(new DatagramSocket({ type: 'udp4', loop: context.loop }), context.defer);
        await socket.send(text, port, '127.0.0.1');
        return firstOf(socket);
      });
    },
  },
  {
    name: 'UnixDatagramServer',
    connects: false,
    make: (context, before, onError) => {
      const handler = async (request: UnixDatagramRequest): Promise<void> => {
        await before?.(request);
        await request.reply(String(request.data).toUpperCase());
      };
      const sockets = new UnixSockets(context);
      const server = keep(new UnixDatagramServer(handler, { loop: context.loop, onError }), context.defer);
      return atPaths(server, sockets, async (path, text) => {
        const socket = await sockets.bind();
        await socket.send(text, path);
        return firstOf(socket);
      });
    },
  },
];

/** The steps of a request, in the words of socketserver. */
export type Step = 'verifyRequest' | 'processRequest' | 'finishRequest' | 'handleError' | 'shutdownRequest';
/** And what else may be overridden. */
export type Hook = Step | 'handleTimeout' | 'serviceActions';

/** Overrides hooks of one server, as a class derived from its own would: each gets the one that it overrides. */
export function override(
  server: AnyServer,
  hooks: { readonly [hook in Hook]?: (base: () => unknown) => unknown },
): void {
  for (const [name, hook] of Object.entries(hooks)) {
    const base: unknown = Reflect.get(server, name);
    if (typeof base !== 'function') throw new Error(`${name} is no hook`);
    const value = (...args: unknown[]): unknown => hook(() => Reflect.apply(base, server, args));
    Object.defineProperty(server, name, { value, configurable: true });
  }
}

/** Overrides all steps by ones that note their names first. */
export function noteSteps(server: AnyServer): string[] {
  const steps: string[] = [];
  const note = (name: string) => (base: () => unknown) => {
    steps.push(name);
    return base();
  };
  override(server, {
    verifyRequest: note('verifyRequest'),
    processRequest: note('processRequest'),
    finishRequest: note('finishRequest'),
    handleError: note('handleError'),
    shutdownRequest: note('shutdownRequest'),
  });
  return steps;
}

/** Gives `loop` turns until `done` holds. */
export function until(loop: TestContext['loop'], what: string, done: () => boolean): Promise<void> {
  const turns = async (): Promise<void> => {
    while (!done() && loop.fd >= 0) await nextTurn(loop);
  };
  return within(5_000, turns(), what);
}
