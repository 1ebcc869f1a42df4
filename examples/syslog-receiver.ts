/**
 * Prints what programs log: a socket for Unix datagrams, as /dev/log is one.
 *
 *   node --import tsx examples/syslog-receiver.ts [--path /tmp/ioloop-log.sock]
 *   logger --socket /tmp/ioloop-log.sock --priority mail.warning --tag backup 'the disk is full'
 *
 * It understands both formats, RFC 3164 and RFC 5424. What a message says of its sender anybody can
 * write; process and user are the kernel's word. No message is lost: who logs faster than this prints
 * has to wait.
 */
import { parseArgs } from 'node:util';
import { IOLoop, IOLoopError, SystemError, type UnixDatagram, UnixDatagramSocket } from 'ioloop';

const FACILITIES = [
  ...['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron', 'authpriv', 'ftp'],
  ...['ntp', 'audit', 'alert', 'clock'],
  ...['local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'],
];
const SEVERITIES = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'];
/** user.notice, where a message does not say: RFC 3164, 4.3.3. */
const DEFAULT_PRIORITY = 13;
/** RFC 5424, 6.1, asks for 2,048 at least. */
const MAX_MESSAGE = 8192;

/** VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA [MSG]: RFC 5424, 6. */
const MODERN =
  /^1 \S+ \S+ (?<app>\S+) \S+ \S+ (?:-|(?:\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\])+)(?: (?<text>.*))?$/s;
/** TIMESTAMP [HOSTNAME] TAG[PID]: MSG, of which programs leave out what they like: RFC 3164, 4.1. */
const TRADITIONAL =
  /^(?:\w{3} [ \d]\d \d\d:\d\d:\d\d )?(?:[^\s:[\]]+ (?=[^\s:[\]]+(?:\[\d+\])?:))?(?:(?<app>[^\s:[\]]+)(?:\[\d+\])?: ?)?(?<text>.*)$/s;

interface Entry {
  readonly priority: string;
  readonly app: string;
  readonly text: string;
}

function parse(message: string): Entry {
  const [part = '', digits] = /^<(\d{1,3})>/.exec(message) ?? [];
  const isValid = digits !== undefined && Number(digits) < FACILITIES.length * SEVERITIES.length;
  const priority = isValid ? Number(digits) : DEFAULT_PRIORITY;
  const rest = isValid ? message.slice(part.length) : message;
  const { app = '-', text = '' } = (MODERN.exec(rest) ?? TRADITIONAL.exec(rest))?.groups ?? {};
  return {
    priority: `${FACILITIES[priority >> 3]}.${SEVERITIES[priority & 7]}`,
    app,
    // A byte order mark says that it is UTF-8: RFC 5424, 6.4.
    text: text.replace(/^\ufeff/, ''),
  };
}

function describe({ data, truncated, credentials }: UnixDatagram): string {
  const { priority, app, text } = parse(data.toString());
  const sender = `pid ${credentials?.pid}, uid ${credentials?.uid}`;
  // Without control characters: a message is a line, and does not play with the terminal.
  const line = `${priority} ${app} (${sender}): ${text}`.replace(/\p{Cc}/gu, ' ').trimEnd();
  return truncated ? `${line} ...` : line;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { path: { type: 'string', default: '/tmp/ioloop-log.sock' } } });
  await using _loop = new IOLoop();
  const socket = new UnixDatagramSocket({ credentials: true, maxPacketSize: MAX_MESSAGE });
  // Everybody may log.
  const { path } = await socket.bind(values.path, { mode: 0o666 });
  console.log(`logging what comes to ${path}`);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void socket.close());
  for await (const datagram of socket) console.log(describe(datagram));
}

main().catch((error: unknown) => {
  const known = error instanceof SystemError || error instanceof TypeError || IOLoopError.is(error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
