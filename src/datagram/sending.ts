/** A promise that knows whether anybody has asked for its outcome. */
class NoticingPromise extends Promise<void> {
  isNoticed = false;

  // What is derived from it is a plain promise.
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  // biome-ignore lint/suspicious/noThenProperty: a promise has it; this one takes note
  override then<A = void, B = never>(
    // biome-ignore lint/suspicious/noConfusingVoidType: as Promise declares it
    onFulfilled?: ((value: void) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.isNoticed = true;
    return super.then(onFulfilled, onRejected);
  }
}

/**
 * One call that sends, while some of its messages wait: its promise, which settles when all of them
 * have left or were refused.
 *
 * Who waits for it hears what went wrong by a rejection; if nobody does, `report` hears of each.
 */
export class Sending {
  readonly promise: NoticingPromise;
  readonly #report: (error: Error) => void;
  readonly #errors: Error[] = [];
  #left: number;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};

  /** @param left How many messages it waits for. */
  constructor(left: number, report: (error: Error) => void) {
    this.#left = left;
    this.#report = report;
    this.promise = new NoticingPromise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** One message has left. */
  sent(): void {
    this.#left--;
    this.#settle();
  }

  /** One message was refused. */
  failed(error: Error): void {
    this.#left--;
    this.#errors.push(error);
    this.#settle();
  }

  #settle(): void {
    if (this.#left > 0) return;
    if (this.#errors.length === 0) this.#resolve();
    // An `await` takes note in a microtask of its own: after those under way, and after a tick where
    // the program itself has just been run.
    else process.nextTick(() => queueMicrotask(() => this.#fail()));
  }

  #fail(): void {
    const { isNoticed } = this.promise;
    const [first] = this.#errors;
    if (first !== undefined) this.#reject(first);
    if (isNoticed) return;
    // Who looks later finds it, and nobody has to.
    this.promise.catch(() => {});
    for (const error of this.#errors) this.#report(error);
  }
}
