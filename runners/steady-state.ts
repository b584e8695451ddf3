import { isSteady } from "../results/statistics.js";

/** Tells whether a throughput has become steady, from its rate in successive intervals of about one length. */
export class SteadyState {
  readonly #rates: number[] = [];

  constructor(readonly windowLength: number) {}

  /** Adds the next interval's rate. @returns whether the last `windowLength` rates are level and calm */
  add(rate: number): boolean {
    this.#rates.push(rate);
    if (this.#rates.length > this.windowLength) this.#rates.shift();
    return this.#rates.length === this.windowLength && isSteady(this.#rates);
  }
}
