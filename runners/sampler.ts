import { once } from "node:events";
import { PerformanceObserver } from "node:perf_hooks";
import { Worker } from "node:worker_threads";
import type { Sample } from "../results/schema.js";
import { clockFrom } from "./clock.js";
import { GC_NS, LOOP_DELAY_NS, type SamplerStart, SharedCells, STOP } from "./sampler-cells.js";

/** The heartbeat that event-loop delay is measured by: a timer due every 5 ms. */
const HEARTBEAT_MS = 5;

/**
 * Samples what the machine did, on the clock of the latencies. The sampling itself runs in a worker thread, so that its
 * reads of /proc never delay a message; this side only keeps three numbers in shared memory.
 */
export class Sampler {
  readonly #worker: Worker;
  readonly #cells: SharedCells;
  readonly #originNs: bigint;
  #stopMeasuring: () => void = () => {};

  private constructor(worker: Worker, cells: SharedCells, originNs: bigint) {
    this.#worker = worker;
    this.#cells = cells;
    this.#originNs = originNs;
  }

  /** @param deviceStatPath `/sys/dev/block/…/stat` of the device, or null where there is none */
  static async create(options: {
    originNs: bigint;
    intervalMs: number;
    deviceStatPath: string | null;
  }): Promise<Sampler> {
    const cells = new SharedCells();
    const workerData: SamplerStart = { ...options, cells: cells.buffer };
    const worker = new Worker(new URL("./sampler-worker.js", import.meta.url), { workerData });
    await once(worker, "online");
    return new Sampler(worker, cells, options.originNs);
  }

  /** Cell 0 is the count of acknowledged messages, kept by the load generator. */
  get progress(): Float64Array {
    return this.#cells.numbers;
  }

  /** Starts the first interval; it has begun when this resolves, so that no message falls before it. */
  async start(): Promise<void> {
    const { numbers } = this.#cells;
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) numbers[GC_NS]! += Math.round(entry.duration * 1e6);
    });
    observer.observe({ entryTypes: ["gc"] });
    const clock = clockFrom(this.#originNs);
    let expectedNs = clock.nowNs() + HEARTBEAT_MS * 1e6;
    const heartbeat = setInterval(() => {
      const nowNs = clock.nowNs();
      numbers[LOOP_DELAY_NS] = Math.max(numbers[LOOP_DELAY_NS]!, nowNs - expectedNs);
      expectedNs = nowNs + HEARTBEAT_MS * 1e6;
    }, HEARTBEAT_MS);
    this.#stopMeasuring = () => {
      clearInterval(heartbeat);
      observer.disconnect();
    };
    const begun = once(this.#worker, "message");
    this.#cells.signal(1);
    await begun;
  }

  /** Ends the last interval. @returns all of them */
  async stop(): Promise<Sample[]> {
    this.#stopMeasuring();
    const answered = once(this.#worker, "message");
    this.#cells.signal(STOP);
    const [samples] = (await answered) as [Sample[]];
    await this.#worker.terminate();
    return samples;
  }
}
