import type { EngineEvent } from "../engines/engine.js";
import { TAIL_CAUSES, type TailCause } from "../results/schema.js";
import { LatencyRecorder } from "./latency-recorder.js";
import { LongestIntervals } from "./longest-intervals.js";
import { CELLS_PER_EVENT, EVENT_KINDS, EVENTS } from "./sampler-cells.js";
import type { CauseEvent } from "./tail-causes.js";

/** Of each cause half as many events are kept for certain: the longest, which alone can explain a slow message. */
const EVENTS_KEPT = 8_192;

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

  /** @param originNs the clock's zero @param numbers of the sampler's cells */
  constructor(originNs: bigint, numbers: Float64Array) {
    this.#originNs = originNs;
    this.#numbers = numbers;
  }

  engineEvent({ kind, startedNs, durationNs }: EngineEvent): void {
    const at = EVENTS + CELLS_PER_EVENT * EVENT_KINDS.indexOf(kind);
    this.#numbers[at]!++;
    this.#numbers[at + 1]! += durationNs;
    if (durationNs > this.#numbers[at + 2]!) this.#numbers[at + 2] = durationNs;
    const startNs = Number(startedNs - this.#originNs);
    this.note(kind, startNs, startNs + durationNs);
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
