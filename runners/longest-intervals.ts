import type { LatencyRecorder } from "./latency-recorder.js";

/**
 * Of any number of intervals the longest, at least half of `capacity` of them (fewer only where more than that are of
 * equal length, to three digits). Memory is allocated once: when it is full, what is shorter than the longest half of
 * `capacity` goes, and is not taken any more.
 */
export class LongestIntervals {
  readonly #durations: LatencyRecorder;
  readonly #starts: Float64Array;
  readonly #middles: Float64Array;
  readonly #ends: Float64Array;
  #count = 0;
  #shortestNs = 0;

  /** @param durations where every interval's duration is recorded before it is offered */
  constructor(capacity: number, durations: LatencyRecorder) {
    this.#durations = durations;
    this.#starts = new Float64Array(capacity);
    this.#middles = new Float64Array(capacity);
    this.#ends = new Float64Array(capacity);
  }

  /** Allocates nothing. `middleNs` is the caller's: a moment within the interval. */
  offer(startNs: number, middleNs: number, endNs: number): void {
    if (endNs - startNs < this.#shortestNs) return;
    if (this.#count === this.#starts.length) this.#makeRoom();
    if (endNs - startNs < this.#shortestNs) return;
    this.#starts[this.#count] = startNs;
    this.#middles[this.#count] = middleNs;
    this.#ends[this.#count] = endNs;
    this.#count++;
  }

  /** In the order in which they were offered. */
  intervals(): { startNs: number; middleNs: number; endNs: number }[] {
    return Array.from({ length: this.#count }, (_, i) => ({
      startNs: this.#starts[i]!,
      middleNs: this.#middles[i]!,
      endNs: this.#ends[i]!,
    }));
  }

  #makeRoom(): void {
    this.#shortestNs = this.#durations.reachedByAtMost(this.#starts.length / 2).latencyNs;
    let kept = 0;
    for (let i = 0; i < this.#count; i++) {
      if (this.#ends[i]! - this.#starts[i]! < this.#shortestNs) continue;
      this.#starts[kept] = this.#starts[i]!;
      this.#middles[kept] = this.#middles[i]!;
      this.#ends[kept] = this.#ends[i]!;
      kept++;
    }
    this.#count = kept;
  }
}
