import type { Schedule } from "./schedule.js";

/**
 * How many messages an open load had sent, noted every few milliseconds: beside its schedule, the backlog at any time. What
 * was due is counted afterwards, by walking the schedule again, so that a message costs nothing while it is timed.
 */
export class BacklogTrace {
  readonly #timesNs: number[];
  readonly #sentCounts: number[];

  /** @param sentBefore as `note` counts, when the interval from `startNs` to `endNs` began */
  constructor(
    readonly startNs: number,
    readonly endNs: number,
    readonly sentBefore: number,
  ) {
    this.#timesNs = [startNs];
    this.#sentCounts = [0];
  }

  /** In the order of time. */
  note(nowNs: number, sentCount: number): void {
    this.#timesNs.push(nowNs);
    this.#sentCounts.push(sentCount - this.sentBefore);
  }

  /**
   * Messages due by these ascending times (none is after `endNs`) and not sent by then; null before the interval. Between two
   * notes as many are taken to have been sent in each moment.
   * @param schedule of the interval, from its start
   */
  at(timesNs: readonly number[], schedule: Schedule): (number | null)[] {
    let dueCount = 0;
    let next = 1;
    return timesNs.map((timeNs) => {
      if (timeNs < this.startNs) return null;
      for (; schedule.dueNs <= timeNs && schedule.dueNs < this.endNs; schedule.advance()) dueCount++;
      while (next < this.#timesNs.length && this.#timesNs[next]! <= timeNs) next++;
      return Math.max(0, Math.round(dueCount - this.#sentBetween(next - 1, timeNs)));
    });
  }

  #sentBetween(at: number, timeNs: number): number {
    const [fromNs, sent] = [this.#timesNs[at]!, this.#sentCounts[at]!];
    const toNs = this.#timesNs[at + 1];
    if (toNs === undefined) return sent;
    return sent + ((this.#sentCounts[at + 1]! - sent) * (timeNs - fromNs)) / (toNs - fromNs);
  }
}
