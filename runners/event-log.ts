import type { EngineEvent } from "../engines/engine.js";
import { TAIL_CAUSES, type TailCause } from "../results/schema.js";
import type { ThreadRun } from "./kernel-counters.js";
import { LatencyRecorder } from "./latency-recorder.js";
import { LongestIntervals } from "./longest-intervals.js";
import { CELLS_PER_EVENT, EVENT_KINDS, EVENTS } from "./sampler-cells.js";
import type { CauseEvent } from "./tail-causes.js";

/** Of each cause half as many events are kept for certain: the longest, which alone can explain a slow message. */
const EVENTS_KEPT = 8_192;

/**
 * How long the loop must have been held up for it to be asked whether it waited for a processor: asking takes 5 to 40 µs
 * of the loop's own time, most of them where the code is cold.
 */
const LEAST_WAIT_NS = 1_000_000;
/** It is asked without a reason so often, so that short waits do not add up to one that was never there. */
const ASK_EVERY_NS = 50_000_000;
/** Of a time without a turn, what must have been waited for a processor for that to be its reason. */
const WAITED_SHARE = 0.5;

interface Kept {
  readonly cause: TailCause;
  readonly durations: LatencyRecorder;
  readonly longest: LongestIntervals;
}

/** What the engine did and where the loop was held up: counted for the sampler, the longest kept for the tail. */
export class EventLog {
  readonly #originNs: bigint;
  readonly #numbers: Float64Array;
  /** By cause; memory is taken when the first event of one comes. */
  readonly #kept: (Kept | undefined)[] = TAIL_CAUSES.map(() => undefined);

  readonly #readRun: ((into: ThreadRun) => void) | null;
  readonly #run: ThreadRun = { ranNs: 0, waitedNs: 0 };
  #askedNs = Number.NEGATIVE_INFINITY;

  /**
   * @param originNs the clock's zero
   * @param numbers of the sampler's cells
   * @param readRun tells how long this thread has waited for a processor; null: nobody does, or is to ask
   */
  constructor(originNs: bigint, numbers: Float64Array, readRun: ((into: ThreadRun) => void) | null) {
    this.#originNs = originNs;
    this.#numbers = numbers;
    this.#readRun = readRun;
  }

  engineEvent({ kind, startedNs, durationNs }: EngineEvent): void {
    const at = EVENTS + CELLS_PER_EVENT * EVENT_KINDS.indexOf(kind);
    this.#numbers[at]!++;
    this.#numbers[at + 1]! += durationNs;
    if (durationNs > this.#numbers[at + 2]!) this.#numbers[at + 2] = durationNs;
    const startNs = Number(startedNs - this.#originNs);
    this.note(kind, startNs, startNs + durationNs);
  }

  /** Something held the loop up from `startNs` until now: a call of the engine, or a turn of the event loop. */
  heldUp(cause: "engine-call" | "event-loop", startNs: number, nowNs: number): void {
    this.note(cause, startNs, nowNs);
    const heldUpNs = nowNs - startNs;
    if (heldUpNs < LEAST_WAIT_NS || this.#readRun === null) return;
    if (this.#waitedNs(nowNs) >= heldUpNs * WAITED_SHARE) this.note("processor-wait", startNs, nowNs);
  }

  /** To be called at every heartbeat of the loop. */
  beat(nowNs: number): void {
    if (this.#readRun !== null && nowNs - this.#askedNs >= ASK_EVERY_NS) this.#waitedNs(nowNs);
  }

  /** Waited for a processor since it was asked last; 0 at first. */
  #waitedNs(nowNs: number): number {
    const isFirst = this.#askedNs === Number.NEGATIVE_INFINITY;
    const before = this.#run.waitedNs;
    this.#readRun!(this.#run);
    this.#askedNs = nowNs;
    return isFirst ? 0 : this.#run.waitedNs - before;
  }

  note(cause: TailCause, startNs: number, endNs: number): void {
    const place = TAIL_CAUSES.indexOf(cause);
    let kept = this.#kept[place];
    if (kept === undefined) {
      const durations = new LatencyRecorder();
      kept = { cause, durations, longest: new LongestIntervals(EVENTS_KEPT, durations) };
      this.#kept[place] = kept;
    }
    kept.durations.record(endNs - startNs);
    kept.longest.offer(startNs, startNs, endNs);
  }

  events(): CauseEvent[] {
    return this.#kept.flatMap((kept) =>
      kept === undefined
        ? []
        : kept.longest.intervals().map(({ startNs, endNs }) => ({ cause: kept.cause, startNs, endNs })),
    );
  }
}
