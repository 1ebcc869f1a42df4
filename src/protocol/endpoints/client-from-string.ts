import { checkOptions } from '../../arguments.ts';
import { isIpLiteral } from '../../ip-literal.ts';
import type { ConnectTcpOptions } from '../connect.ts';
import { TCPClientEndpoint, UnixClientEndpoint } from './client-endpoints.ts';
import type { EndpointArguments } from './description.ts';
import type { ClientEndpoint } from './endpoint.ts';
import { type EndpointMaker, EndpointTypes } from './endpoint-types.ts';
import { readAuthorities, readPem } from './pem-files.ts';
import { toSocketPath } from './socket-path.ts';

/** What the code says beside a description, which goes first where both say something. */
export interface ClientEndpointOptions extends ConnectTcpOptions {}

/** A type of clients' endpoints. */
export type ClientEndpointMaker = EndpointMaker<ClientEndpoint, ClientEndpointOptions>;

/** How a type calls the parameters of TLS. */
interface TlsNames {
  readonly certificate: string;
  readonly authorities: string;
  readonly name: string;
}

const POSITIONAL = ['host', 'port'];
const KEYWORDS = ['timeout', 'bindAddress'];
const TLS_NAMES = { certificate: 'certificate', authorities: 'trustRoots', name: 'servername' };
const SSL_NAMES = { certificate: 'certKey', authorities: 'caCertsDir', name: 'hostname' };

const types: EndpointTypes<ClientEndpoint, ClientEndpointOptions> = new EndpointTypes({
  tcp: (description, options) =>
    tcp(description.arguments({ positional: POSITIONAL, keywords: KEYWORDS }), options),
  tls: (description, options) => tls(description.arguments(tlsParameters(TLS_NAMES)), options, TLS_NAMES),
  ssl: (description, options) => tls(description.arguments(tlsParameters(SSL_NAMES)), options, SSL_NAMES),
  unix: (description, options) =>
    unix(description.arguments({ positional: ['path'], keywords: ['timeout', 'lockfile'] }), options),
});

/**
 * The endpoint that `description` describes, in Twisted's words:
 *
 * - `tcp:example.org:80`, `tcp:host=example.org:port=80`, and `timeout=` in seconds, `bindAddress=192.0.2.1`;
 * - `tls:example.org:443`, and `certificate=`, `privateKey=` of the client, `trustRoots=`: a file or a directory of
 *   .pem files, in place of the roots that Node trusts, `servername=`: whose certificate it must be, if not the
 *   host's; or `ssl:` with `certKey=`, `caCertsDir=`, `hostname=` for those. The files are read at once;
 * - `unix:/run/x.sock`, `unix:@name` (abstract), and `timeout=`; `lockfile=` has no effect.
 *
 * A backslash takes the meaning from a ':', '=' or '\\': `tcp:\:\:1:80`.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`, which names the part that is wrong and what would be right.
 */
export function clientFromString(description: string, options: ClientEndpointOptions = {}): ClientEndpoint {
  checkOptions(options);
  return types.make(description, options);
}

/**
 * Has {@link clientFromString} know endpoints of another type, of the program's or a package's own.
 *
 * @param make Called with each description that begins with `type`, and the options beside it.
 * @throws `ERR_IOLOOP_INVALID_STATE`: the type is known already; `ERR_IOLOOP_INVALID_ARGUMENT`.
 */
export function registerClientEndpoint(type: string, make: ClientEndpointMaker): void {
  types.register(type, make);
}

function tcp(args: EndpointArguments, options: ClientEndpointOptions): ClientEndpoint {
  const bindAddress = args.text('bindAddress');
  if (bindAddress !== undefined && !isIpLiteral(bindAddress))
    throw args.invalid('bindAddress', 'an IP literal');
  const host = args.text('host') ?? args.missing('host');
  const port = args.integer('port', 1, 65535) ?? args.missing('port');
  return new TCPClientEndpoint(host, port, {
    ...options,
    localAddress: bindAddress ?? options.localAddress,
    timeoutMs: args.seconds('timeout') ?? options.timeoutMs,
  });
}

function tlsParameters({ certificate, authorities, name }: TlsNames) {
  return {
    positional: POSITIONAL,
    keywords: [...KEYWORDS, certificate, 'privateKey', authorities, name],
  };
}

function tls(args: EndpointArguments, options: ClientEndpointOptions, names: TlsNames): ClientEndpoint {
  const certFile = args.text(names.certificate);
  const keyFile = args.text('privateKey') ?? certFile;
  if (keyFile !== undefined && certFile === undefined) args.missing(names.certificate);
  const authorities = args.text(names.authorities);
  const servername = args.text(names.name);
  return tcp(args, {
    ...options,
    tls: {
      ...(typeof options.tls === 'object' && options.tls),
      ...(certFile !== undefined && { cert: readPem(args, names.certificate, certFile, 'CERTIFICATE') }),
      ...(keyFile !== undefined && { key: readPem(args, 'privateKey', keyFile, 'PRIVATE KEY') }),
      ...(authorities !== undefined && { ca: readAuthorities(args, names.authorities, authorities) }),
      ...(servername !== undefined && { servername }),
    },
  });
}

function unix(args: EndpointArguments, options: ClientEndpointOptions): ClientEndpoint {
  args.flag('lockfile');
  const path = args.text('path') ?? args.missing('path');
  return new UnixClientEndpoint(toSocketPath(path), {
    ...options,
    timeoutMs: args.seconds('timeout') ?? options.timeoutMs,
  });
}
