import type { NativePrograms } from './harness/native-programs.ts';
import { serverProgram } from './harness/paths.ts';
import type { Command } from './harness/pinning.ts';
import { findBun, findPythonWith } from './harness/runtimes.ts';

/** One server to measure. */
export interface BenchServer {
  readonly name: string;
  readonly runtime: 'native' | 'node' | 'bun' | 'python';
  readonly command: Command;
  /** The greatest number of connections that it can hold at once. */
  readonly maxConnections: number;
}

/** A server on ioloop: a program that takes the backend and then `args`. */
export interface IoloopServer {
  /** Of the contender, in front of the backend's. */
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
}

/** Everyone who is asked one question: the same server, written in every way. */
export interface LineUp {
  /** The limit, in C++. */
  readonly raw: string;
  readonly rawArgs?: readonly string[];
  readonly ioloop: readonly IoloopServer[];
  /** Files of bench/peers, by whom they are written for. */
  readonly peers: Readonly<Partial<Record<Peer, string>>>;
}

/** Those that can be asked on this machine. */
export interface FoundServers {
  readonly servers: readonly BenchServer[];
  /** On each that is left out. */
  readonly notes: readonly string[];
}

type Peer = 'node-net' | 'node-dgram' | 'bun' | 'uvloop' | 'tornado' | 'twisted' | 'python';

/** Echo by handlers and descriptors. */
export const handlerEcho: IoloopServer = { name: 'ioloop', file: 'servers/handler-echo.ts', args: [] };

/** Echo by IOStream, pushed: `onData`. */
export const onDataEcho: IoloopServer = {
  name: 'ioloop-stream-ondata',
  file: 'servers/stream-echo.ts',
  args: ['ondata'],
};

/** Echo by IOStream, pulled: `await readBytes`. */
export const awaitEcho: IoloopServer = {
  name: 'ioloop-stream-await',
  file: 'servers/stream-echo.ts',
  args: ['await'],
};

/** Echo by Protocol: `dataReceived` and `transport.write`. */
export const protocolEcho: IoloopServer = {
  name: 'ioloop-protocol',
  file: 'servers/protocol-echo.ts',
  args: [],
};

/** Lines by IOStream: `await readUntil`, of at most `maxBytes` where that is given. */
export function awaitLines(maxBytes?: number): IoloopServer {
  const args = maxBytes === undefined ? [] : [String(maxBytes)];
  return { name: 'ioloop-stream-await', file: 'servers/stream-lines.ts', args };
}

/** Servers that send back what they receive. */
export function echoLineUp(programs: NativePrograms, ...ioloop: readonly IoloopServer[]): LineUp {
  return {
    raw: programs.rawEcho,
    ioloop,
    peers: {
      'node-net': 'node-net-echo.ts',
      bun: 'bun-echo.ts',
      uvloop: 'uvloop_echo.py',
      tornado: 'tornado_echo.py',
      twisted: 'twisted_echo.py',
    },
  };
}

/** Servers that take lines and send back each of them. */
export function linesLineUp(programs: NativePrograms, ...ioloop: readonly IoloopServer[]): LineUp {
  return {
    raw: programs.rawLines,
    ioloop,
    peers: {
      'node-net': 'node-net-lines.ts',
      bun: 'bun-lines.ts',
      tornado: 'tornado_lines.py',
      twisted: 'twisted_lines.py',
    },
  };
}

/** select(2) takes numbers below 1024: room for the process's own. */
const maxConnectionsOnSelect = 950;

/** Those of `lineUp` that run on this machine, the limit first. */
export function findServers(lineUp: LineUp, backends: readonly string[]): FoundServers {
  const limit: Command = { program: lineUp.raw, args: lineUp.rawArgs ?? [] };
  const servers: BenchServer[] = [
    { name: 'raw-epoll', runtime: 'native', command: limit, maxConnections: Infinity },
  ];
  for (const backend of backends) {
    const maxConnections = backend === 'select' ? maxConnectionsOnSelect : Infinity;
    for (const { name, file, args } of lineUp.ioloop) {
      const command = serverProgram(file, backend, ...args);
      servers.push({ name: `${name}-${backend}`, runtime: 'node', command, maxConnections });
    }
  }
  const notes: string[] = [];
  for (const [name, file] of Object.entries(lineUp.peers)) {
    const peer = findPeer(name, file);
    if (peer === undefined) notes.push(`${name} is not installed here and is left out`);
    else servers.push(peer);
  }
  return { servers, notes };
}

/** Those of `found` that can hold so many connections, with a note on those that cannot. */
export function thatHold(connections: number, found: FoundServers): FoundServers {
  const tooSmall = found.servers.filter(({ maxConnections }) => maxConnections < connections);
  const notes = tooSmall.map(
    ({ name, maxConnections }) => `${name} holds ${maxConnections} connections at most and is left out`,
  );
  return {
    servers: found.servers.filter((server) => !tooSmall.includes(server)),
    notes: [...found.notes, ...notes],
  };
}

function findPeer(name: string, file: string): BenchServer | undefined {
  if (name.startsWith('node-')) {
    return { name, runtime: 'node', command: serverProgram(`peers/${file}`), maxConnections: Infinity };
  }
  // Sockets of Python's own are there wherever it is.
  const program = name === 'bun' ? findBun() : findPythonWith(name === 'python' ? 'socket' : name);
  if (program === undefined) return undefined;
  const command: Command = { program, args: [`bench/peers/${file}`] };
  return { name, runtime: name === 'bun' ? 'bun' : 'python', command, maxConnections: Infinity };
}
