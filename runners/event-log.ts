import type { EngineEvent } from "../engines/engine.js";
import { TAIL_CAUSES, type TailCause } from "../results/schema.js";
import type { ThreadRun } from "./kernel-counters.js";
import { LatencyRecorder } from "./latency-recorder.js";
import { LongestIntervals } from "./longest-intervals.js";
import { CELLS_PER_EVENT, EVENT_KINDS, EVENTS } from "./sampler-cells.js";
import type { CauseEvent } from "./tail-causes.js";

/** Of each cause half as many events are kept for certain: the longest, which alone can explain a slow message. */
const EVENTS_KEPT = 8_192;

/** The loop was held up for so long: what it waited for is looked into. */
const LONG_WAIT_NS = 1_000_000;
/**
 * The kernel is asked how long the thread has waited for a processor so often at most, about all hold-ups since it was asked
 * last: asking takes 5 to 40 µs of the loop's own time, most of them because the code is cold.
 */
const ASK_EVERY_NS = 50_000_000;
/** And so often without any, so that waits too short to hold the loop up for long do not add up. */
const ASK_IDLY_EVERY_NS = 250_000_000;
/** Of the time that the loop was held up, what must have been waited for a processor for that to be the reason. */
const WAITED_SHARE = 0.5;
const MOST_HELD_UP = ASK_IDLY_EVERY_NS / LONG_WAIT_NS;

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
  /** Since then: when each hold-up began and ended, and how long they were together. */
  readonly #heldUp = new Float64Array(2 * MOST_HELD_UP);
  #heldUpCount = 0;
  #heldUpNs = 0;

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
    if (nowNs - startNs < LONG_WAIT_NS || this.#readRun === null || this.#heldUpCount === MOST_HELD_UP) return;
    this.#heldUp[2 * this.#heldUpCount] = startNs;
    this.#heldUp[2 * this.#heldUpCount + 1] = nowNs;
    this.#heldUpCount++;
    this.#heldUpNs += nowNs - startNs;
  }

  /** To be called at every heartbeat of the loop: tells now and then which hold-ups were waits for a processor. */
  beat(nowNs: number): void {
    const dueNs = this.#askedNs + (this.#heldUpCount > 0 ? ASK_EVERY_NS : ASK_IDLY_EVERY_NS);
    if (this.#readRun === null || nowNs < dueNs) return;
    const waitedBeforeNs = this.#run.waitedNs;
    this.#readRun(this.#run);
    // Of what was before the first asking nothing is known.
    const isKnown = this.#askedNs !== Number.NEGATIVE_INFINITY;
    if (isKnown && this.#run.waitedNs - waitedBeforeNs >= this.#heldUpNs * WAITED_SHARE) {
      for (let i = 0; i < this.#heldUpCount; i++) {
        this.note("processor-wait", this.#heldUp[2 * i]!, this.#heldUp[2 * i + 1]!);
      }
    }
    this.#askedNs = nowNs;
    this.#heldUpCount = 0;
    this.#heldUpNs = 0;
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
