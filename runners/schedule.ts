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
  /** Independent senders, which share the rate. */
  readonly producerCount: number;
  readonly seed: number;
}

export function createSchedule(options: ScheduleOptions): Schedule {
  return options.arrivals === "constant" ? new ConstantSchedule(options) : new PoissonSchedule(options);
}

/**
 * Each producer's messages are due at start + phase + i × interval: computed from i each time, so no rounding adds up. The
 * first producer's phase is 0, the others' are drawn, as they know nothing of each other.
 */
class ConstantSchedule implements Schedule {
  dueNs: number;
  readonly #startNs: number;
  /** Between two messages of one producer. */
  readonly #intervalNs: number;
  /** Ascending. */
  readonly #phasesNs: Float64Array;
  #round = 0;
  #producer = 0;

  constructor({ startNs, ratePerSecond, producerCount, seed }: ScheduleOptions) {
    const random = seededRandom(seed);
    this.dueNs = startNs;
    this.#startNs = startNs;
    this.#intervalNs = (1e9 * producerCount) / ratePerSecond;
    this.#phasesNs = Float64Array.from({ length: producerCount }, (_, producer) =>
      producer === 0 ? 0 : random() * this.#intervalNs,
    ).sort();
  }

  advance(): void {
    if (++this.#producer === this.#phasesNs.length) {
      this.#producer = 0;
      this.#round++;
    }
    this.dueNs = this.#startNs + this.#phasesNs[this.#producer]! + this.#round * this.#intervalNs;
  }
}

/** Gaps drawn from the exponential distribution; those of many independent senders together are such gaps again. */
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
