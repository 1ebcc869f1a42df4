import type { Buffer } from 'node:buffer';
import { FixedLengthFramer } from '../framing/fixed-length-framer.ts';
import { FramedProtocol } from './framed-protocol.ts';

/** Receives frames of one length. */
export abstract class FixedLengthReceiver extends FramedProtocol<FixedLengthFramer> {
  /** How many bytes a frame has. A change holds from the next frame on. */
  abstract length: number;

  constructor() {
    super(new FixedLengthFramer(1));
    this.framer.onFrame = (frame) => this.returned(this.frameReceived(frame));
  }

  /**
   * A frame has come.
   *
   * @param frame A view, valid during the call.
   */
  abstract frameReceived(frame: Buffer): void | Promise<void>;

  protected override adjust(): void {
    this.framer.length = this.length;
  }
}
