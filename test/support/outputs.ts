/** What several programs write at the same time, one after the other on standard output. */
export class Outputs {
  readonly #outputs: Output[] = [];

  /** The output behind those there are: it is seen as it comes once these have ended. */
  next(): Output {
    const output = new Output(() => this.#advance());
    this.#outputs.push(output);
    if (this.#outputs.length === 1) output.show();
    return output;
  }

  #advance(): void {
    while (this.#outputs[0]?.hasEnded) {
      this.#outputs.shift();
      this.#outputs[0]?.show();
    }
  }
}

/** One of them. */
export class Output {
  readonly #onEnd: () => void;
  #held = '';
  #shown = false;
  #ended = false;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  write(text: string): void {
    if (this.#shown) process.stdout.write(text);
    else this.#held += text;
  }

  /** Writes what was held back, and the rest as it comes. */
  show(): void {
    this.#shown = true;
    process.stdout.write(this.#held);
    this.#held = '';
  }

  /** Nothing more comes. */
  end(): void {
    this.#ended = true;
    this.#onEnd();
  }

  get hasEnded(): boolean {
    return this.#ended;
  }
}
