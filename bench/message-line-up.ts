import type { NativePrograms } from './harness/native-programs.ts';
import type { IoloopServer, LineUp } from './line-up.ts';

/** A server on ioloop, pushed: `onMessages`, each message answered by `reply`. */
const onMessages = (file: string): IoloopServer => ({
  name: 'ioloop-onmessages',
  file,
  args: ['onmessages'],
});

/** The same, a whole batch sent back at once: `sendMany`. */
const sendMany = (file: string): IoloopServer => ({ name: 'ioloop-sendmany', file, args: ['sendmany'] });

/** A server on ioloop, pulled: `for await`. */
const awaited = (file: string): IoloopServer => ({ name: 'ioloop-await', file, args: ['await'] });

/** Servers that send back UDP datagrams. */
export function udpEchoLineUp(programs: NativePrograms): LineUp {
  const file = 'servers/udp-echo.ts';
  return {
    raw: programs.rawDatagramEcho,
    ioloop: [onMessages(file), sendMany(file), awaited(file)],
    peers: {
      'node-dgram': 'node-dgram-echo.ts',
      bun: 'bun-udp-echo.ts',
      uvloop: 'uvloop_udp_echo.py',
    },
  };
}

/** Servers that count UDP datagrams, and tell how many there were. */
export function udpCountLineUp(programs: NativePrograms): LineUp {
  const file = 'servers/udp-count.ts';
  return {
    raw: programs.rawDatagramCount,
    ioloop: [onMessages(file), awaited(file)],
    peers: {
      'node-dgram': 'node-dgram-count.ts',
      bun: 'bun-udp-count.ts',
      uvloop: 'uvloop_udp_count.py',
    },
  };
}

/** Servers that send back Unix datagrams. */
export function unixDatagramLineUp(programs: NativePrograms): LineUp {
  const file = 'servers/unix-datagram-echo.ts';
  return {
    raw: programs.rawDatagramEcho,
    rawArgs: ['unix'],
    ioloop: [onMessages(file), sendMany(file), awaited(file)],
    peers: { python: 'python_unix_datagram_echo.py' },
  };
}

/** Servers that send back the messages of seqpacket connections. */
export function seqpacketLineUp(programs: NativePrograms): LineUp {
  const file = 'servers/seqpacket-echo.ts';
  return {
    raw: programs.rawEcho,
    rawArgs: ['seqpacket'],
    ioloop: [onMessages(file), awaited(file)],
    peers: { python: 'python_seqpacket_echo.py' },
  };
}
