import type { Address } from '../../address.ts';
import { type InheritedFd, listenFds } from '../../net/listen-fds.ts';
import { socketAddress } from '../../raw.ts';
import type { EndpointArguments, EndpointDescription } from './description.ts';

/** How systemd.socket(5) and Twisted call the families of addresses. */
const DOMAINS: Readonly<Record<string, Address['family']>> = { INET: 'IPv4', INET6: 'IPv6', UNIX: 'Unix' };

/** The descriptors of a service manager that a description means: one by its index, or all of a name. */
export function inheritedFds(description: EndpointDescription): number[] {
  const args = description.arguments({ positional: ['domain', 'index'], keywords: ['name'] });
  const found = chosenBy(args, listenFds()).map(({ fd }) => fd);
  const domain = args.text('domain');
  if (domain === undefined) return found;
  if (!Object.hasOwn(DOMAINS, domain)) throw args.invalid('domain', `one of 'INET', 'INET6', 'UNIX'`);
  for (const fd of found) {
    const { family } = socketAddress(fd);
    if (family !== DOMAINS[domain]) throw args.invalid('domain', `that of a socket of family ${family}`);
  }
  return found;
}

function chosenBy(args: EndpointArguments, inherited: readonly InheritedFd[]): readonly InheritedFd[] {
  const name = args.text('name');
  const index = args.integer('index', 0, Number.MAX_SAFE_INTEGER);
  if (name !== undefined) {
    if (index !== undefined) throw args.invalid('index', 'left out beside a name');
    const named = inherited.filter((one) => one.name === name);
    const known = [...new Set(inherited.map((one) => `'${one.name}'`))].join(', ') || 'which there are none';
    if (named.length === 0) throw args.invalid('name', `one of LISTEN_FDNAMES, ${known}`);
    return named;
  }
  const place = index ?? args.missing('index');
  if (place < inherited.length) return inherited.slice(place, place + 1);
  throw args.invalid('index', `below the ${inherited.length} descriptors of LISTEN_FDS`);
}
