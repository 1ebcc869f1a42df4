import { type FramingState, StateFramer } from '../framing/state-framer.ts';
import type { Transport } from '../transport.ts';
import { FramedProtocol } from './framed-protocol.ts';

/**
 * Receives as many bytes as its state asks for, and gives them to that, which says what comes next: headers
 * that tell how long what follows them is.
 */
export abstract class StatefulProtocol extends FramedProtocol<StateFramer> {
  /** How many bytes a state may ask for: more is the end of the connection. */
  maxLength = 1_048_576;

  constructor() {
    super(new StateFramer([() => undefined, 1]));
  }

  /** The first state; asked for when the connection was made. */
  abstract getInitialState(): FramingState;

  override makeConnection(transport: Transport): void | Promise<void> {
    const made = super.makeConnection(transport);
    this.framer.setState(this.getInitialState());
    return made;
  }

  protected override adjust(): void {
    this.framer.maxLength = this.maxLength;
  }
}
