/** What the measuring thread and the sampler's worker share. */
const NUMBER_COUNT = 3;
/** Cells of `numbers`: acknowledged messages and garbage-collection time so far, longest loop delay since last read. */
export const ACKNOWLEDGED = 0;
export const GC_NS = 1;
export const LOOP_DELAY_NS = 2;

/** States of the signal. */
export const WAITING = 0;
export const STOP = 2;

export class SharedCells {
  readonly numbers: Float64Array;
  readonly #signal: Int32Array;

  constructor(readonly buffer = new SharedArrayBuffer((NUMBER_COUNT + 1) * Float64Array.BYTES_PER_ELEMENT)) {
    this.numbers = new Float64Array(buffer, 0, NUMBER_COUNT);
    this.#signal = new Int32Array(buffer, this.numbers.byteLength, 1);
  }

  signal(state: number): void {
    Atomics.store(this.#signal, 0, state);
    Atomics.notify(this.#signal, 0);
  }

  /** Waits until the signal is no longer `state`, or for so long. @returns the signal */
  wait(state: number, timeoutMs: number): number {
    Atomics.wait(this.#signal, 0, state, timeoutMs);
    return Atomics.load(this.#signal, 0);
  }
}

export interface SamplerStart {
  readonly originNs: bigint;
  readonly intervalMs: number;
  readonly deviceStatPath: string | null;
  readonly cells: SharedArrayBuffer;
}
