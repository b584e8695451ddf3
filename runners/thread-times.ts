import { existsSync, readdirSync } from "node:fs";
import type { ThreadTimes } from "../results/schema.js";
import { openCounterFile, openSchedstat, type ThreadRun } from "./kernel-counters.js";

const TASKS = "/proc/self/task";
/** V8's workers and its delayed-task scheduler, then Node's signal thread: started before libuv's pool. */
const V8_THREADS = 5 + 1;

interface Thread {
  readonly read: (into: ThreadRun) => void;
  readonly group: keyof ThreadTimes;
}

/**
 * CPU time of this process by thread since each began. Newer versions of Node name their threads; older ones start them
 * in a fixed order.
 */
export class ThreadClock {
  readonly #samplerThreadId: number | null;
  readonly #threadPoolSize: number;
  /** By thread id: what reads its times, and to whom they go. Null: it had ended. */
  readonly #threads = new Map<string, Thread | null>();
  readonly #run: ThreadRun = { ranNs: 0, waitedNs: 0 };

  constructor(samplerThreadId: number | null, threadPoolSize: number) {
    this.#samplerThreadId = samplerThreadId;
    this.#threadPoolSize = threadPoolSize;
  }

  /** Null where the kernel does not tell. */
  read(): ThreadTimes | null {
    if (!existsSync(TASKS)) return null;
    const times = { mainNs: 0, poolNs: 0, v8Ns: 0, samplerNs: 0, otherNs: 0 };
    // In the order of their ids, which is that of their start.
    for (const [place, id] of readdirSync(TASKS).entries()) {
      let thread = this.#threads.get(id);
      if (thread === undefined) {
        thread = this.#open(id, place);
        this.#threads.set(id, thread);
      }
      if (thread !== null) times[thread.group] += this.#ranNs(id, thread.read);
    }
    return times;
  }

  #open(id: string, place: number): Thread | null {
    const read = openSchedstat(`${TASKS}/${id}/schedstat`);
    const name = openCounterFile(`${TASKS}/${id}/comm`);
    if (read === null || name === null) return null;
    const isSampler = Number(id) === this.#samplerThreadId;
    return { read, group: isSampler ? "samplerNs" : groupOf(place, name(), this.#threadPoolSize) };
  }

  #ranNs(id: string, read: Thread["read"]): number {
    try {
      read(this.#run);
      return this.#run.ranNs;
    } catch {
      this.#threads.set(id, null);
      return 0;
    }
  }
}

export function threadTimesBetween(before: ThreadTimes | null, after: ThreadTimes | null): ThreadTimes | null {
  if (before === null || after === null) return null;
  // A thread that has ended takes its time along.
  const between = (name: keyof ThreadTimes) => Math.max(0, after[name] - before[name]);
  return {
    mainNs: between("mainNs"),
    poolNs: between("poolNs"),
    v8Ns: between("v8Ns"),
    samplerNs: between("samplerNs"),
    otherNs: between("otherNs"),
  };
}

/** @param place in the order of thread ids, the main thread being 0 */
export function groupOf(place: number, name: string, threadPoolSize: number): keyof ThreadTimes {
  if (place === 0) return "mainNs";
  if (/^libuv/i.test(name)) return "poolNs";
  if (/^(v8|delayedtask)/i.test(name)) return "v8Ns";
  if (!/^node/.test(name)) return "otherNs";
  if (place <= V8_THREADS) return "v8Ns";
  return place <= V8_THREADS + threadPoolSize ? "poolNs" : "otherNs";
}
