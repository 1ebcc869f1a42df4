import { Buffer } from 'node:buffer';
import { IOLoopError } from '../../errors.ts';
import { LineFramer } from '../framing/line-framer.ts';
import { FramedProtocol } from './framed-protocol.ts';

/** Receives lines, and nothing else. */
export abstract class LineOnlyReceiver extends FramedProtocol<LineFramer> {
  /** What ends a line; strings are UTF-8. A change holds from the next line on. */
  delimiter: string | Uint8Array = '\r\n';
  /** How many bytes a line may have, without the delimiter. */
  maxLength = 16_384;

  constructor() {
    super(new LineFramer());
    this.framer.onFrame = (line) => this.returned(this.lineReceived(line));
  }

  /**
   * A line has come.
   *
   * @param line Without its delimiter; a view, valid during the call.
   */
  abstract lineReceived(line: Buffer): void | Promise<void>;

  /** Sends `line` and the delimiter; strings are UTF-8. */
  sendLine(line: string | Uint8Array): void {
    const { delimiter } = this;
    if (typeof line === 'string' && typeof delimiter === 'string') this.transport.write(line + delimiter);
    else this.transport.writeSequence([toBytes(line), toBytes(delimiter)]);
  }

  /**
   * A line is longer than {@link maxLength}: nothing more is received. Loses the connection; an override may
   * write before that.
   *
   * @param _line What has come from where it began.
   */
  lineLengthExceeded(_line: Buffer): void {
    this.transport.loseConnection();
  }

  protected override framingFailed(): void {
    this.lineLengthExceeded(this.framer.clear());
  }

  protected override adjust(): void {
    this.framer.setDelimiter(this.delimiter);
    this.framer.maxLength = this.maxLength;
  }
}

/** Receives lines, and in between bytes as they come. */
export abstract class LineReceiver extends LineOnlyReceiver {
  constructor() {
    super();
    this.framer.onRawData = (data) => this.returned(this.rawDataReceived(data));
  }

  /**
   * Bytes have come in raw mode.
   *
   * @param _data A view, valid during the call.
   */
  rawDataReceived(_data: Buffer): void | Promise<void> {
    throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'rawDataReceived() is not overridden');
  }

  /** Has {@link rawDataReceived} called with all that follows, without a maximum, until {@link setLineMode}. */
  setRawMode(): void {
    this.framer.setRawMode();
  }

  /**
   * Has {@link lineReceived} called again with what follows.
   *
   * @param extra What {@link rawDataReceived} was given too much. It costs nothing where it is the end of that.
   */
  setLineMode(extra?: Uint8Array): void {
    this.framer.setLineMode(extra);
  }

  /** Forgets what has come and was not given out. Returns it. */
  clearLineBuffer(): Buffer {
    return this.framer.clear();
  }
}

function toBytes(data: string | Uint8Array): Uint8Array {
  return typeof data === 'string' ? Buffer.from(data) : data;
}
