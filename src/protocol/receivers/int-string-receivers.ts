import type { Buffer } from 'node:buffer';
import { encodePrefixed, PrefixFramer, type PrefixSize } from '../framing/prefix-framer.ts';
import { FramedProtocol } from './framed-protocol.ts';

/** Receives strings of bytes, each after its length in network order. */
export abstract class IntStringReceiver extends FramedProtocol<PrefixFramer> {
  /** How many bytes a string may have. */
  maxLength = 99_999;
  /** How many bytes its length takes. */
  readonly prefixLength: PrefixSize;

  protected constructor(prefixLength: PrefixSize) {
    super(new PrefixFramer(prefixLength));
    this.prefixLength = prefixLength;
    this.framer.onFrame = (string) => this.returned(this.stringReceived(string));
  }

  /**
   * A string has come.
   *
   * @param string A view, valid during the call.
   */
  abstract stringReceived(string: Buffer): void | Promise<void>;

  /**
   * Sends `string`; one that is a string is sent as UTF-8.
   *
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT` when its length does not fit into the prefix.
   */
  sendString(string: string | Uint8Array): void {
    this.transport.write(encodePrefixed(string, this.prefixLength));
  }

  /**
   * A string is longer than {@link maxLength}: nothing more is received. Loses the connection; an override may
   * write before that.
   *
   * @param _length What the peer has announced.
   */
  lengthLimitExceeded(_length: number): void {
    this.transport.loseConnection();
  }

  protected override framingFailed(): void {
    this.lengthLimitExceeded(this.framer.announced);
  }

  protected override adjust(): void {
    this.framer.maxLength = this.maxLength;
  }
}

/** Receives strings of at most 255 bytes, each after its length in one byte. */
export abstract class Int8StringReceiver extends IntStringReceiver {
  constructor() {
    super(1);
  }
}

/** Receives strings of at most 65,535 bytes, each after its length in two bytes. */
export abstract class Int16StringReceiver extends IntStringReceiver {
  constructor() {
    super(2);
  }
}

/** Receives strings of at most `maxLength` bytes, each after its length in four bytes. */
export abstract class Int32StringReceiver extends IntStringReceiver {
  constructor() {
    super(4);
  }
}
