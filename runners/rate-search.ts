/**
 * Searches for the highest rate at which an objective is met, by trials that each say yes or no. Pure.
 *
 *   start at half the capacity ──► double or halve until one rate is met and a higher one missed ──► bisect (geometrically)
 *   until they are within `RESOLUTION` ──► the highest met rate must be met once more, or counts as missed
 *
 * A noisy machine can miss a rate that it meets otherwise, so what the search reports is a rate that was met twice, not a
 * limit that cannot be passed.
 */

/** Relative distance of the highest met and the lowest missed rate at which the search ends. */
const RESOLUTION = 0.05;
/** Of the closed loop's throughput: where the search begins, and between what it stays. */
const START = 0.5;
const LOWEST = 0.01;
const HIGHEST = 1.2;
const MOST_STEPS = 16;

export interface SearchResult {
  /** Met twice; null when no rate was. */
  readonly ratePerSecond: number | null;
  /**
   * `found`; `ceiling`: met at the highest rate tried; `never`: missed at the lowest; `unsettled`: not decided in as many
   * trials as a search may take.
   */
  readonly end: "found" | "ceiling" | "never" | "unsettled";
}

export class RateSearch {
  /** Rates met, ascending, and how often each was. */
  readonly #met: { rate: number; count: number }[] = [];
  #missed = Number.POSITIVE_INFINITY;
  #steps = 0;

  /** @param capacityPerSecond of the closed loop */
  constructor(readonly capacityPerSecond: number) {}

  /** The rate to try next; null when the search is over. */
  next(): number | null {
    if (this.#steps >= MOST_STEPS) return null;
    const lowest = this.capacityPerSecond * LOWEST;
    const highest = this.capacityPerSecond * HIGHEST;
    const best = this.#met.at(-1);
    if (best === undefined) {
      if (this.#missed === Number.POSITIVE_INFINITY) return this.capacityPerSecond * START;
      return this.#missed <= lowest ? null : Math.max(lowest, this.#missed / 2);
    }
    if (this.#missed === Number.POSITIVE_INFINITY && best.rate < highest) return Math.min(highest, best.rate * 2);
    if (this.#missed > best.rate * (1 + RESOLUTION) && best.rate < highest) return Math.sqrt(best.rate * this.#missed);
    return best.count > 1 ? null : best.rate;
  }

  /** What became of the rate that `next` gave. */
  record(rate: number, isMet: boolean): void {
    this.#steps++;
    if (!isMet) {
      this.#missed = Math.min(this.#missed, rate);
      while (this.#met.length > 0 && this.#met.at(-1)!.rate >= this.#missed) this.#met.pop();
      return;
    }
    const known = this.#met.find((met) => met.rate === rate);
    if (known !== undefined) known.count++;
    else this.#met.push({ rate, count: 1 });
  }

  get result(): SearchResult {
    const best = this.#met.at(-1);
    const isOver = this.next() === null;
    if (best === undefined) {
      const isNever = this.#missed <= this.capacityPerSecond * LOWEST;
      return { ratePerSecond: null, end: isNever ? "never" : "unsettled" };
    }
    const confirmed = this.#met.filter(({ count }) => count > 1).at(-1)?.rate ?? null;
    if (!isOver || best.count < 2) return { ratePerSecond: confirmed, end: "unsettled" };
    const isCeiling = best.rate >= this.capacityPerSecond * HIGHEST;
    const isNarrow = this.#missed <= best.rate * (1 + RESOLUTION);
    return { ratePerSecond: best.rate, end: isCeiling ? "ceiling" : isNarrow ? "found" : "unsettled" };
  }
}
