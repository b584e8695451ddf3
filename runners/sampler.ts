import { once } from "node:events";
import { PerformanceObserver } from "node:perf_hooks";
import { Worker } from "node:worker_threads";
import type { Sample } from "../results/schema.js";
import { clockFrom } from "./clock.js";
import {
  DISPATCH_LAG_BYTES,
  GC_NS,
  type SamplerAnswer,
  type SamplerStart,
  SharedCells,
  STOP,
} from "./sampler-cells.js";
import type { CauseEvent } from "./tail-causes.js";

/**
 * Samples what the machine did, on the clock of the latencies. The sampling itself runs in a worker thread, so that its
 * reads of /proc never delay a message; this side, and the load generator, only keep numbers in shared memory.
 */
export class Sampler {
  readonly #worker: Worker;
  readonly #cells: SharedCells;
  readonly #originNs: bigint;
  #stopMeasuring: () => void = () => {};
  readonly #collections: CauseEvent[] = [];
  /** Of the worker, by the kernel; null where it does not tell. */
  threadId: number | null = null;

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
    threadPoolSize: number;
  }): Promise<Sampler> {
    const cells = new SharedCells();
    const workerData: SamplerStart = { ...options, cells: cells.buffer };
    const worker = new Worker(new URL("./sampler-worker.js", import.meta.url), { workerData });
    await once(worker, "online");
    return new Sampler(worker, cells, options.originNs);
  }

  get cells(): SharedCells {
    return this.#cells;
  }

  /** Starts the first interval; it has begun when this resolves, so that no message falls before it. */
  async start(): Promise<void> {
    const { numbers } = this.#cells;
    const clock = clockFrom(this.#originNs);
    const performanceOriginNs = clock.nowNs() - performance.now() * 1e6;
    const noteCollections = (entries: PerformanceEntryList) => {
      for (const { startTime, duration } of entries) {
        numbers[GC_NS]! += Math.round(duration * 1e6);
        const startNs = performanceOriginNs + startTime * 1e6;
        this.#collections.push({ cause: "garbage-collection", startNs, endNs: startNs + duration * 1e6 });
      }
    };
    const observer = new PerformanceObserver((list) => noteCollections(list.getEntries()));
    observer.observe({ entryTypes: ["gc"] });
    numbers[DISPATCH_LAG_BYTES] = -1;
    this.#stopMeasuring = () => {
      noteCollections(observer.takeRecords());
      observer.disconnect();
    };
    const begun = once(this.#worker, "message");
    this.#cells.signal(1);
    const [{ threadId }] = (await begun) as [{ threadId: number | null }];
    this.threadId = threadId;
  }

  /** Ends the last interval; the worker stays to guard the process until that ends. @returns all of them, and what held the process up meanwhile */
  async stop(): Promise<SamplerAnswer<Sample> & { collections: CauseEvent[] }> {
    this.#stopMeasuring();
    const answered = once(this.#worker, "message");
    this.#cells.signal(STOP);
    const [answer] = (await answered) as [SamplerAnswer<Sample>];
    this.#worker.unref();
    return { ...answer, collections: this.#collections };
  }
}
