import { invariant } from "../invariant.js";
import type { CommitLog } from "./commit-log.js";
import { type Dispatcher, DispatchOutcome } from "./dispatcher.js";

/** RocketMQ's reput thread sleeps 1 ms between its rounds; much waiting log starts one sooner. */
const INTERVAL_MS = 1;
const START_AT_BYTES = 64 << 10;
const STEP_BYTES = 1 << 20;

/**
 * The reput loop: follows the log and makes consumequeue units of what it reads back there, a bounded step at a time.
 * What it has passed, consumers see.
 */
export class Reput {
  /** Where the next record to be dispatched begins. */
  #offset: number;
  #lastMs = 0;

  constructor(
    private readonly log: CommitLog,
    private readonly dispatcher: Dispatcher,
    /** RocketMQ's SYNC_FLUSH: what is not on the device is not dispatched. */
    private readonly hidesUnflushed: boolean,
    private readonly maxRecordBytes: number,
  ) {
    this.#offset = log.endOffset;
  }

  /** A step, if one is due. `isTick`: the clock has moved since the last call. */
  step(nowMs: number, isTick: boolean): void {
    const waitingBytes = this.#limit - this.#offset;
    if (waitingBytes >= START_AT_BYTES || (waitingBytes > 0 && isTick && nowMs - this.#lastMs >= INTERVAL_MS)) {
      this.#lastMs = nowMs;
      // Half of what waits, if that is more: appends larger than a step do not leave it behind.
      this.#run(this.#offset + Math.max(STEP_BYTES, waitingBytes / 2));
    }
  }

  /** Dispatches all that consumers may see. */
  catchUp(): void {
    this.#run(Number.POSITIVE_INFINITY);
  }

  get #limit(): number {
    return this.hidesUnflushed ? this.log.flushedOffset : this.log.endOffset;
  }

  #run(enough: number): void {
    const { log, dispatcher } = this;
    const limit = this.#limit;
    while (this.#offset < limit && this.#offset < enough) {
      const from = this.#offset;
      // Long enough for any record, so that each round gets on.
      const sizeBytes = log.load(from, Math.min(limit, from + STEP_BYTES + this.maxRecordBytes));
      let outcome: number;
      try {
        outcome = dispatcher.run(log.loadedAddress, sizeBytes, from);
      } finally {
        // Also where a consumequeue's next file could not be made: what has its unit is not dispatched again.
        this.#offset = from + dispatcher.consumedBytes;
      }
      if (outcome === DispatchOutcome.AT_BLANK) this.#offset = log.fileOf(from).endOffset;
      // A record that `to` cuts in two comes whole in the next round.
      const isCut = outcome === DispatchOutcome.NO_RECORD && dispatcher.consumedBytes > 0;
      invariant(
        outcome === DispatchOutcome.AT_END || outcome === DispatchOutcome.AT_BLANK || isCut,
        "what was appended lies in the log in its queue's order",
      );
    }
    log.dispatchedOffset = this.#offset;
  }
}
