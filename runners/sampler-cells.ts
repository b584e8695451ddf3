import { STAGE_BROKER, STAGE_PRODUCER } from "../engines/engine.js";
import { BUCKET_COUNT } from "./latency-recorder.js";

/** Kinds of engine events, in the order of their cells. */
export const EVENT_KINDS = ["sync", "file-preallocate", "index-flush", "segment-roll", "retention-delete"] as const;

/** Cells of `numbers`: acknowledged messages and garbage-collection time so far, longest loop delay since last read. */
export const ACKNOWLEDGED = 0;
export const GC_NS = 1;
export const LOOP_DELAY_NS = 2;
/** Largest dispatch lag since last read; -1 where the engine has none. */
export const DISPATCH_LAG_BYTES = 3;
/** How long the main thread's event loop had waited for something to do so far, and when it said so; 0: it has not yet. */
export const LOOP_IDLE_NS = 4;
export const LOOP_READ_NS = 5;
/** How often the main thread was seen in each place so far. */
const OBSERVED = 6;

/** Places of the main thread: what the load generator says. Asleep in the event loop it takes no CPU time, so that is not counted. */
export const ASLEEP = -1;
export const IN_EVENT_LOOP = 0;
export const IN_GENERATOR = 1;
export const IN_ENGINE = 2;
/** And, of an engine that says more, whose work it was at; `IN_ENGINE` is then not counted. */
export const IN_PRODUCER = IN_ENGINE + STAGE_PRODUCER;
export const IN_BROKER = IN_ENGINE + STAGE_BROKER;

/** For each kind: events and their total time so far, the longest since last read. */
export const EVENTS = OBSERVED + IN_BROKER + 1;
export const CELLS_PER_EVENT = 3;
const NUMBER_COUNT = EVENTS + CELLS_PER_EVENT * EVENT_KINDS.length;

/** States of the signal. */
export const WAITING = 0;
export const STOP = 2;

/** What the measuring thread and the sampler's worker share. */
export class SharedCells {
  readonly numbers: Float64Array;
  /** Of the measured messages' response times, as `LatencyRecorder` keeps them. */
  readonly responseCounts: Float64Array;
  /** One cell: where the main thread is. */
  readonly place: Int32Array;
  /** One cell: whose work the engine is at, for `OpenOptions`. */
  readonly stage: Int32Array;
  readonly #signal: Int32Array;

  constructor(
    readonly buffer = new SharedArrayBuffer((NUMBER_COUNT + BUCKET_COUNT + 2) * Float64Array.BYTES_PER_ELEMENT),
  ) {
    this.numbers = new Float64Array(buffer, 0, NUMBER_COUNT);
    this.responseCounts = new Float64Array(buffer, this.numbers.byteLength, BUCKET_COUNT);
    const at = this.numbers.byteLength + this.responseCounts.byteLength;
    this.#signal = new Int32Array(buffer, at, 1);
    this.place = new Int32Array(buffer, at + Int32Array.BYTES_PER_ELEMENT, 1);
    this.stage = new Int32Array(buffer, at + 2 * Int32Array.BYTES_PER_ELEMENT, 1);
  }

  /** Counts the place in which the main thread is now, unless it sleeps. */
  observe(): void {
    const place = Atomics.load(this.place, 0);
    if (place === ASLEEP) return;
    const stage = Atomics.load(this.stage, 0);
    const isSplit = place === IN_ENGINE && (stage === STAGE_PRODUCER || stage === STAGE_BROKER);
    this.numbers[OBSERVED + (isSplit ? IN_ENGINE + stage : place)]!++;
  }

  /** How often it has been seen in each place. */
  observed(): number[] {
    return [...this.numbers.subarray(OBSERVED, EVENTS)];
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
  readonly threadPoolSize: number;
  readonly cells: SharedArrayBuffer;
}

/** What the worker answers at the end. */
export interface SamplerAnswer<Sample> {
  /** When the first interval began, on the clock of the latencies. */
  readonly startedNs: number;
  readonly samples: Sample[];
  readonly samplerCpuFraction: number | null;
}
