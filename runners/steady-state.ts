import { linearRegression } from "simple-statistics";

/** Over the window: range at most 20 % of the mean, fitted slope at most 10 % (the rule of SNIA's PTS and of fio). */
const MAXIMUM_RANGE = 0.2;
const MAXIMUM_DRIFT = 0.1;

/** Tells whether a throughput has become steady, from its rate in successive intervals of about one length. */
export class SteadyState {
  readonly #rates: number[] = [];

  constructor(readonly windowLength: number) {}

  /** Adds the next interval's rate. @returns whether the last `windowLength` rates are level and calm */
  add(rate: number): boolean {
    this.#rates.push(rate);
    if (this.#rates.length > this.windowLength) this.#rates.shift();
    if (this.#rates.length < this.windowLength) return false;
    const mean = this.#rates.reduce((sum, value) => sum + value, 0) / this.windowLength;
    if (mean === 0) return false;
    const range = Math.max(...this.#rates) - Math.min(...this.#rates);
    const slope = linearRegression(this.#rates.map((value, index) => [index, value])).m;
    return range <= MAXIMUM_RANGE * mean && Math.abs(slope) * (this.windowLength - 1) <= MAXIMUM_DRIFT * mean;
  }
}
