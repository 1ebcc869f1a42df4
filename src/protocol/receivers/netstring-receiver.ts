import type { Buffer } from 'node:buffer';
import { encodeNetstring, NetstringFramer } from '../framing/netstring-framer.ts';
import { FramedProtocol } from './framed-protocol.ts';

/** Receives netstrings (https://cr.yp.to/proto/netstrings.txt). */
export abstract class NetstringReceiver extends FramedProtocol<NetstringFramer> {
  /** How many bytes a string may have. */
  maxLength = 99_999;

  constructor() {
    super(new NetstringFramer());
    this.framer.onFrame = (string) => this.returned(this.stringReceived(string));
  }

  /**
   * A string has come.
   *
   * @param string A view, valid during the call.
   */
  abstract stringReceived(string: Buffer): void | Promise<void>;

  /** Sends `string`; one that is a string is sent as UTF-8. */
  sendString(string: string | Uint8Array): void {
    this.transport.write(encodeNetstring(string));
  }

  /** Whether the peer has sent what is no netstring, or is too long. */
  get brokenPeer(): boolean {
    return this.framer.failed;
  }

  protected override adjust(): void {
    this.framer.maxLength = this.maxLength;
  }
}
