const START_MS = 1_700_000_000_000;

/**
 * Stands in for this process's clocks (`Date.now`, `performance.now`) until disposed of, and goes on only when told:
 * what engines do after so many milliseconds then follows from a seed alone, and hours pass in an instant.
 */
export class SimulatedClock {
  nowMs = 0;
  readonly #dateNow = Date.now;
  readonly #performanceNow = performance.now;

  constructor() {
    Date.now = () => START_MS + Math.floor(this.nowMs);
    performance.now = () => this.nowMs;
  }

  dispose(): void {
    Date.now = this.#dateNow;
    performance.now = this.#performanceNow;
  }
}
