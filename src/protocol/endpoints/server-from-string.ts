import { checkOptions } from '../../arguments.ts';
import type { StandardIOOptions } from '../../stream/standard-io-stream.ts';
import type { ListenTcpOptions, ListenUnixOptions } from '../listen.ts';
import type { EndpointArguments } from './description.ts';
import type { ServerEndpoint } from './endpoint.ts';
import { type EndpointMaker, EndpointTypes } from './endpoint-types.ts';
import { inheritedFds } from './inherited-fds.ts';
import { readPem } from './pem-files.ts';
import {
  AdoptedServerEndpoint,
  StandardIOEndpoint,
  TCPServerEndpoint,
  UnixServerEndpoint,
} from './server-endpoints.ts';
import { toSocketPath } from './socket-path.ts';

/** What the code says beside a description, which goes first where both say something. */
export interface ServerEndpointOptions extends ListenTcpOptions, ListenUnixOptions, StandardIOOptions {}

/** A type of servers' endpoints. */
export type ServerEndpointMaker = EndpointMaker<ServerEndpoint, ServerEndpointOptions>;

const MAX_BACKLOG = 0x7fffffff;
const TCP = { positional: ['port', 'interface', 'backlog'], keywords: ['reusePort', 'ipv6Only'] };
const TCP6 = { positional: ['port', 'backlog', 'interface'], keywords: ['reusePort', 'ipv6Only'] };
const TLS = {
  positional: ['port', 'privateKey', 'certKey'],
  keywords: ['extraCertChain', 'dhParameters', 'interface', 'backlog', 'reusePort', 'ipv6Only'],
};
const UNIX = { positional: ['path', 'mode', 'backlog'], keywords: ['address', 'lockfile'] };

const types: EndpointTypes<ServerEndpoint, ServerEndpointOptions> = new EndpointTypes({
  tcp: (description, options) => tcp(description.arguments(TCP), options),
  tcp6: (description, options) =>
    tcp(description.arguments(TCP6), { ...options, interface: options.interface ?? '::' }),
  tls: (description, options) => tls(description.arguments(TLS), options),
  ssl: (description, options) => tls(description.arguments(TLS), options),
  unix: (description, options) => unix(description.arguments(UNIX), options),
  stdio: (description, options) => {
    description.arguments({});
    return new StandardIOEndpoint(options);
  },
  systemd: (description, options) => new AdoptedServerEndpoint(inheritedFds(description), options),
  fd: (description, options) => {
    const args = description.arguments({ positional: ['number'] });
    const fd = args.integer('number', 0, 0x7fffffff) ?? args.missing('number');
    return new AdoptedServerEndpoint(fd, options);
  },
  haproxy: ({ rest }, options) => serverFromString(rest, { ...options, proxyProtocol: true }),
});

/**
 * The endpoint that `description` describes, in Twisted's words:
 *
 * - `tcp:8080`, `tcp:8080:interface=127.0.0.1`, and `backlog=`, `reusePort=`, `ipv6Only=`; without an interface
 *   all addresses of both families. `tcp6:8080` binds '::';
 * - `tls:443:privateKey=key.pem:certKey=cert.pem`, or `ssl:`: the same, and `extraCertChain=`, `dhParameters=`.
 *   The files are read at once; without `privateKey` it is `options.tls`, or server.pem, and without `certKey`
 *   the file of the key;
 * - `unix:/run/x.sock:mode=660`, `unix:@name` (abstract), `backlog=`. The mode is 600 by default. `lockfile=` has
 *   no effect: a socket file that nobody listens at is told by connecting to it;
 * - `stdio:`, the standard input and output as one connection;
 * - `systemd:domain=INET:index=0`, `systemd:name=http` (FileDescriptorName=, systemd.socket(5)): all of that name;
 *   `fd:3`, a socket that a parent has left listening;
 * - `haproxy:` before any other: those of `options.trustedProxies` say by a PROXY header whom they speak for.
 *
 * A backslash takes the meaning from a ':', '=' or '\\': `interface=\:\:1`.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`, which names the part that is wrong and what would be right.
 */
export function serverFromString(description: string, options: ServerEndpointOptions = {}): ServerEndpoint {
  checkOptions(options);
  return types.make(description, options);
}

/**
 * Has {@link serverFromString} know endpoints of another type, of the program's or a package's own.
 *
 * @param make Called with each description that begins with `type`, and the options beside it.
 * @throws `ERR_IOLOOP_INVALID_STATE`: the type is known already; `ERR_IOLOOP_INVALID_ARGUMENT`.
 */
export function registerServerEndpoint(type: string, make: ServerEndpointMaker): void {
  types.register(type, make);
}

function tcp(args: EndpointArguments, options: ServerEndpointOptions): ServerEndpoint {
  const port = args.integer('port', 0, 65535) ?? args.missing('port');
  return new TCPServerEndpoint(port, {
    ...options,
    interface: args.text('interface') || options.interface,
    backlog: args.integer('backlog', 0, MAX_BACKLOG) ?? options.backlog,
    reusePort: args.flag('reusePort') ?? options.reusePort,
    ipv6Only: args.flag('ipv6Only') ?? options.ipv6Only,
  });
}

function tls(args: EndpointArguments, options: ServerEndpointOptions): ServerEndpoint {
  const keyFile = args.text('privateKey') ?? (options.tls === undefined ? 'server.pem' : undefined);
  const certFile = args.text('certKey') ?? keyFile;
  const chainFile = args.text('extraCertChain');
  const dhFile = args.text('dhParameters');
  const chain =
    chainFile === undefined ? '' : `\n${readPem(args, 'extraCertChain', chainFile, 'CERTIFICATE')}`;
  return tcp(args, {
    ...options,
    tls: {
      ...options.tls,
      ...(keyFile !== undefined && { key: readPem(args, 'privateKey', keyFile, 'PRIVATE KEY') }),
      ...(certFile !== undefined && { cert: readPem(args, 'certKey', certFile, 'CERTIFICATE') + chain }),
      ...(dhFile !== undefined && { dhparam: readPem(args, 'dhParameters', dhFile, 'DH PARAMETERS') }),
    },
  });
}

function unix(args: EndpointArguments, options: ServerEndpointOptions): ServerEndpoint {
  args.flag('lockfile');
  const path = args.text('path') ?? args.text('address') ?? args.missing('path');
  return new UnixServerEndpoint(toSocketPath(path), {
    ...options,
    mode: args.integer('mode', 0, 0o777, 8) ?? options.mode,
    backlog: args.integer('backlog', 0, MAX_BACKLOG) ?? options.backlog,
  });
}
