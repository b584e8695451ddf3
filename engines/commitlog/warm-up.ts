import type { MappedFile } from "./mapped-file.js";

/** What Linux faults in at once where file and memory are aligned to it; more is done in multiples of it. */
const STEP_BYTES = 2 << 20;
const MOST_AHEAD_BYTES = 64 << 20;
/** The run ahead should last about this long: long enough for a pool thread to come by, short enough to write little. */
const AHEAD_LASTS_MS = 50;

/**
 * Faults pages in ahead of the append position, on a pool thread: a first touch costs the append path 0.3 to 2 µs a KiB,
 * and where Linux faults in 2 MiB at once, all of it to one append.
 *
 * How far ahead follows the rate of appends, because what is faulted in is dirty: a sync in between writes those zeros
 * out, and the pages fault again afterwards.
 */
export class WarmUp {
  /** The next step is due when the log ends here; never while one is under way. */
  dueAt: number;
  /** Faulted in, or about to be, up to here. */
  warmedTo = 0;
  #aheadBytes: number;
  #lastMs = Number.NaN;
  #running: Promise<void> | null = null;

  /** @param extent `ahead` = as far as appends need it, `file` = all there is of the files, `none` = nothing */
  constructor(private readonly extent: "ahead" | "file" | "none") {
    this.dueAt = extent === "none" ? Number.POSITIVE_INFINITY : 0;
    this.#aheadBytes = extent === "file" ? Number.POSITIVE_INFINITY : STEP_BYTES;
  }

  step(endOffset: number, nowMs: number, file: MappedFile, next: MappedFile | null): void {
    if (this.#running !== null) return;
    if (this.extent === "ahead") this.#adapt(endOffset, nowMs);
    // What is being written now is left to who writes it: two threads on one page wait for each other.
    const from = Math.max(this.warmedTo, this.warmedTo === 0 ? endOffset : alignedUp(endOffset, file));
    const target = from < file.endOffset ? file : next;
    if (target === null || from >= target.endOffset) {
      this.dueAt = endOffset + STEP_BYTES; // with small files all that there is may be warm
      return;
    }
    const window = target.mapWindow(from);
    const to = Math.min(alignedUp(Math.max(from, endOffset + this.#aheadBytes), target), target.windowEnd(from));
    this.warmedTo = to;
    if (to === from) {
      this.dueAt = endOffset + STEP_BYTES;
      return;
    }
    this.dueAt = Number.POSITIVE_INFINITY;
    const finish = () => {
      this.#running = null;
      this.dueAt = this.warmedTo - this.#aheadBytes / 2;
    };
    // Only help can fail here: the store itself will fault the page in.
    this.#running = window.populate(from - target.windowStart(from), to - from).then(finish, finish);
  }

  /** Doubles or halves the distance so that it lasts AHEAD_LASTS_MS. */
  #adapt(endOffset: number, nowMs: number): void {
    const tookMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    const isOvertaken = this.warmedTo > 0 && endOffset >= this.warmedTo;
    if (isOvertaken || tookMs < AHEAD_LASTS_MS / 4) {
      this.#aheadBytes = Math.min(this.#aheadBytes * 2, MOST_AHEAD_BYTES);
    } else if (tookMs > AHEAD_LASTS_MS * 2) {
      this.#aheadBytes = Math.max(this.#aheadBytes / 2, STEP_BYTES);
    }
  }

  /** Resolves when no fault is under way: the windows may be unmapped. */
  async settled(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }
}

/** The next large page of the file at or behind `position`. */
function alignedUp(position: number, file: MappedFile): number {
  return Math.min(file.baseOffset + Math.ceil((position - file.baseOffset) / STEP_BYTES) * STEP_BYTES, file.endOffset);
}
