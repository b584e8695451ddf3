import type { MappedFile } from "./mapped-file.js";

const LEAST_AHEAD_BYTES = 1 << 20;
const MOST_AHEAD_BYTES = 64 << 20;
/** The run ahead should last about this long: long enough for a pool thread to come by, short enough to write little. */
const AHEAD_LASTS_MS = 50;

/**
 * Faults pages in ahead of the append position, on a pool thread: a first touch costs the append path 1 to 2 µs a KiB.
 *
 * How far ahead follows the rate of appends, because what is faulted in is dirty: a sync in between writes those zeros
 * out, and the pages fault again afterwards.
 */
export class WarmUp {
  /** Faulted in, or about to be, up to here. */
  #warmedTo: number;
  #aheadBytes = LEAST_AHEAD_BYTES;
  #lastMs = Number.NaN;
  #running: Promise<void> | null = null;

  constructor(endOffset: number) {
    this.#warmedTo = endOffset;
  }

  step(endOffset: number, nowMs: number, file: MappedFile, next: MappedFile | null): void {
    if (this.#running !== null || this.#warmedTo - endOffset > this.#aheadBytes / 2) return;
    this.#adapt(nowMs, endOffset);
    const from = Math.max(this.#warmedTo, endOffset);
    const target = from < file.endOffset ? file : next;
    if (target === null || from >= target.endOffset) return; // with small files all there is may be warm already
    const window = target.mapWindow(from);
    const at = from - target.windowStart(from);
    const to = Math.min(endOffset + this.#aheadBytes, target.windowEnd(from));
    const sizeBytes = to - from;
    if (sizeBytes <= 0) return;
    this.#warmedTo = to;
    this.#running = window.populate(at, sizeBytes).then(
      () => {
        this.#running = null;
      },
      () => {
        this.#running = null; // only help was refused: the store itself will fault the page in
      },
    );
  }

  /** Doubles or halves the distance so that it lasts AHEAD_LASTS_MS. */
  #adapt(nowMs: number, endOffset: number): void {
    const tookMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (endOffset >= this.#warmedTo || tookMs < AHEAD_LASTS_MS / 4) {
      this.#aheadBytes = Math.min(this.#aheadBytes * 2, MOST_AHEAD_BYTES);
    } else if (tookMs > AHEAD_LASTS_MS * 2) {
      this.#aheadBytes = Math.max(this.#aheadBytes / 2, LEAST_AHEAD_BYTES);
    }
  }

  /** Resolves when no fault is under way: the windows may be unmapped. */
  async settled(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }
}
