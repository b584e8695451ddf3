/** An engine is polled at least so often: its own timers (linger) live by that. */
const LONGEST_SLEEP_MS = 1;
export const LONGEST_SLEEP_NS = LONGEST_SLEEP_MS * 1e6;

/** Gives the event loop its turns, one at a time. */
export class Turns {
  #sleeper: NodeJS.Immediate | null = null;

  /** Calls back after what is ready. */
  soon(callback: () => void): void {
    setImmediate(callback);
  }

  /**
   * Blocks until something is ready, or the time is up, and calls back after it. An immediate without a reference does not
   * keep the event loop from blocking, and is called when it did.
   */
  asleep(callback: () => void): void {
    // The time may be up before the event loop has begun to block.
    const timer = setTimeout(() => this.wake(), LONGEST_SLEEP_MS);
    this.#sleeper = setImmediate(() => {
      clearTimeout(timer);
      this.#sleeper = null;
      callback();
    }).unref();
  }

  /** From a callback of the event loop: it does not block again, as it might after a timer. */
  wake(): void {
    this.#sleeper?.ref();
  }
}
