import { checkFlag, checkInteger, checkOptions, invalidArgument } from '../arguments.ts';
import { isIpLiteral } from '../ip-literal.ts';
import { addon } from '../native.ts';
import { explain } from '../native-error.ts';
import type { MessageBatch } from './message-batch.ts';
import { MessageSocket } from './message-socket.ts';

/** What a membership is of, beside its group. */
export interface MembershipOptions {
  /** The interface's name, number or address; the system's choice. */
  interface?: string;
  /** The one sender that is listened to (source-specific multicast, RFC 4607). */
  source?: string;
}

/** How far and to how many a UDP socket sends, and whose groups it is in: multicast, broadcast, hops. */
export abstract class MulticastSocket<Batch extends MessageBatch, Message> extends MessageSocket<
  Batch,
  Message
> {
  /** The family that it was made for. */
  protected abstract readonly family: 4 | 6;
  /** Whether it sends by that alone. */
  protected abstract readonly ipv6Only: boolean;

  /**
   * Joins a multicast group.
   *
   * @throws SystemError ENODEV: no such interface; EADDRINUSE: joined already; EINVAL: no group.
   */
  addMembership(group: string, options?: MembershipOptions): void {
    this.#setMembership(group, options, true);
  }

  /** Leaves a multicast group. @throws SystemError EADDRNOTAVAIL: it is not in it. */
  dropMembership(group: string, options?: MembershipOptions): void {
    this.#setMembership(group, options, false);
  }

  /** The interface that multicasts leave by: its name, number or address; '': the system's choice. */
  setMulticastInterface(networkInterface: string): void {
    if (typeof networkInterface !== 'string')
      throw invalidArgument('networkInterface', 'a string', networkInterface);
    explain({ detail: networkInterface }, () => addon().setMulticastInterface(this.openFd, networkInterface));
  }

  /** How many hops a multicast may go, 1 by default: 0 stays on this machine. */
  setMulticastTtl(ttl: number): void {
    checkInteger(ttl, 'ttl', 0, 255);
    this.#setOfFamilies('IP_MULTICAST_TTL', 'IPV6_MULTICAST_HOPS', ttl);
  }

  /** Whether this machine's members of a group get what is sent from here; true. */
  setMulticastLoopback(on: boolean): void {
    checkFlag(on, 'on');
    this.#setOfFamilies('IP_MULTICAST_LOOP', 'IPV6_MULTICAST_LOOP', on);
  }

  /** How many hops a datagram may go, 1 to 255; 64 on most systems. */
  setTtl(ttl: number): void {
    checkInteger(ttl, 'ttl', 1, 255);
    this.#setOfFamilies('IP_TTL', 'IPV6_UNICAST_HOPS', ttl);
  }

  /** Whether broadcasts may be sent (SO_BROADCAST, socket(7)); false. */
  setBroadcast(on: boolean): void {
    checkFlag(on, 'on');
    this.setOption('SO_BROADCAST', on);
  }

  /** Sets an option by its name in IPv4, in IPv6, or both where the socket sends by both. */
  #setOfFamilies(four: string, six: string, value: number | boolean): void {
    if (this.family === 4) {
      this.setOption(four, value);
      return;
    }
    this.setOption(six, value);
    if (this.ipv6Only) return;
    try {
      this.setOption(four, value);
    } catch {
      // macOS and the BSDs have no option of IPv4 for such a socket.
    }
  }

  #setMembership(group: string, options: MembershipOptions | undefined, join: boolean): void {
    if (typeof group !== 'string' || !isIpLiteral(group))
      throw invalidArgument('group', 'the IP literal of a group', group);
    checkOptions(options);
    const { interface: networkInterface = '', source = '' } = options ?? {};
    if (typeof networkInterface !== 'string')
      throw invalidArgument('options.interface', 'a string', networkInterface);
    if (typeof source !== 'string' || (source !== '' && !isIpLiteral(source)))
      throw invalidArgument('options.source', 'an IP literal', source);
    const detail = [group, networkInterface, source].filter((part) => part !== '').join(', ');
    explain({ detail }, () => addon().setMembership(this.openFd, group, networkInterface, source, join));
  }
}
