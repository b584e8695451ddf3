import { seededRandom } from "../results/random.js";

/**
 * When the messages of an open load are due: decided before the load starts, so that nothing the engine does can shift
 * it. Pure and seeded; times are nanoseconds on the clock that `startNs` was read from.
 */
export interface Schedule {
  /** When the next message is due. */
  readonly dueNs: number;
  /** Goes on to the message after it. */
  advance(): void;
}

export interface ScheduleOptions {
  readonly startNs: number;
  readonly ratePerSecond: number;
  readonly arrivals: "constant" | "poisson";
  readonly seed: number;
}

export function createSchedule(options: ScheduleOptions): Schedule {
  return options.arrivals === "constant" ? new ConstantSchedule(options) : new PoissonSchedule(options);
}

/** Message i is due at start + i × interval: computed from i each time, so no rounding adds up. */
class ConstantSchedule implements Schedule {
  dueNs: number;
  readonly #startNs: number;
  readonly #intervalNs: number;
  #index = 0;

  constructor({ startNs, ratePerSecond }: ScheduleOptions) {
    this.dueNs = startNs;
    this.#startNs = startNs;
    this.#intervalNs = 1e9 / ratePerSecond;
  }

  advance(): void {
    this.#index++;
    this.dueNs = this.#startNs + this.#index * this.#intervalNs;
  }
}

/** Gaps drawn from the exponential distribution, as of many independent senders. */
class PoissonSchedule implements Schedule {
  dueNs: number;
  readonly #meanGapNs: number;
  readonly #random: () => number;

  constructor({ startNs, ratePerSecond, seed }: ScheduleOptions) {
    this.#meanGapNs = 1e9 / ratePerSecond;
    this.#random = seededRandom(seed);
    this.dueNs = startNs;
    this.advance();
  }

  advance(): void {
    this.dueNs -= Math.log(1 - this.#random()) * this.#meanGapNs;
  }
}
