import { readFileSync } from "node:fs";
import { GCProfiler } from "node:v8";
import type { EngineCounters } from "../engines/engine.js";
import type { DiskStorage } from "../engines/registry.js";
import type { Cost, MainThread } from "../results/schema.js";
import { parseBlockStat } from "./kernel-counters.js";
import { IN_BROKER, IN_ENGINE, IN_EVENT_LOOP, IN_GENERATOR, IN_PRODUCER, type SharedCells } from "./sampler-cells.js";
import { type ThreadClock, threadTimesBetween } from "./thread-times.js";

type SystemCalls = ReturnType<DiskStorage["systemCalls"]>;

/** Within less the device's count of a system at rest says nothing. */
const LEAST_LOOK_NS = 100e6;

interface Sources {
  readonly nowNs: () => number;
  readonly counters: () => EngineCounters;
  /** Of the storage that the engine was given. */
  readonly systemCalls: () => SystemCalls;
  readonly cells: SharedCells;
  readonly threads: ThreadClock;
  readonly deviceStatPath: string | null;
}

/** Counts from its making to `stop` what messages cost; both are for moments at which nothing is timed. */
export class CostMeter {
  readonly #sources: Sources;
  readonly #began: ReturnType<typeof read>;
  readonly #collections = new GCProfiler();
  readonly #heapBytesBefore: number;

  constructor(sources: Sources) {
    this.#sources = sources;
    this.#heapBytesBefore = process.memoryUsage().heapUsed;
    this.#collections.start();
    this.#began = read(sources);
  }

  stop(): Omit<Cost, "messageCount" | "payloadBytes" | "idleDeviceBytesPerSecond"> {
    const before = this.#began;
    const after = read(this.#sources);
    const count = (name: keyof EngineCounters) => after.counters[name] - before.counters[name];
    return {
      durationNs: after.atNs - before.atNs,
      deviceBytes:
        before.deviceBytes === null || after.deviceBytes === null ? null : after.deviceBytes - before.deviceBytes,
      writtenBytes: count("writtenBytes"),
      logBytes: count("logBytes"),
      indexBytes: count("indexBytes"),
      batches: count("batches"),
      writeCalls: count("writeCalls"),
      readCalls: count("readCalls"),
      syncCalls: count("syncCalls"),
      filesOpened: count("filesOpened"),
      systemCalls: callsBetween(before.systemCalls, after.systemCalls),
      cpuUserNs: (after.usage.userCPUTime - before.usage.userCPUTime) * 1000,
      cpuSystemNs: (after.usage.systemCPUTime - before.usage.systemCPUTime) * 1000,
      threads: threadTimesBetween(before.threads, after.threads),
      mainThread: mainThreadBetween(before.observed, after.observed),
      minorFaults: after.usage.minorPageFault - before.usage.minorPageFault,
      majorFaults: after.usage.majorPageFault - before.usage.majorPageFault,
      allocatedBytes: this.#allocatedBytes(),
    };
  }

  /** What the heap grew by between collections. */
  #allocatedBytes(): number {
    const heapBytesAfter = process.memoryUsage().heapUsed;
    let allocatedBytes = 0;
    let heapBytes = this.#heapBytesBefore;
    for (const { beforeGC, afterGC } of this.#collections.stop().statistics) {
      allocatedBytes += Math.max(0, beforeGC.heapStatistics.usedHeapSize - heapBytes);
      heapBytes = afterGC.heapStatistics.usedHeapSize;
    }
    return allocatedBytes + Math.max(0, heapBytesAfter - heapBytes);
  }
}

/** What others write to the device, seen between its making and `bytesPerSecond`, while this process writes nothing. */
export class IdleLook {
  readonly #path: string | null;
  readonly #nowNs: () => number;
  readonly #beganNs: number;
  readonly #bytesBefore: number | null;

  constructor(deviceStatPath: string | null, nowNs: () => number) {
    this.#path = deviceStatPath;
    this.#nowNs = nowNs;
    this.#beganNs = nowNs();
    this.#bytesBefore = readDeviceBytes(deviceStatPath);
  }

  /** Null where the platform does not tell, or the look was too short. */
  bytesPerSecond(): number | null {
    const tookNs = this.#nowNs() - this.#beganNs;
    const bytes = readDeviceBytes(this.#path);
    if (bytes === null || this.#bytesBefore === null || tookNs < LEAST_LOOK_NS) return null;
    return ((bytes - this.#bytesBefore) * 1e9) / tookNs;
  }
}

/** Those that were made. */
function callsBetween(before: SystemCalls, after: SystemCalls): Cost["systemCalls"] {
  const kinds = Object.keys(after) as (keyof SystemCalls)[];
  return Object.fromEntries(kinds.map((kind) => [kind, after[kind] - before[kind]]).filter(([, made]) => made !== 0));
}

function read({ nowNs, counters, systemCalls, cells, threads, deviceStatPath }: Sources) {
  return {
    atNs: nowNs(),
    counters: counters(),
    systemCalls: systemCalls(),
    usage: process.resourceUsage(),
    threads: threads.read(),
    observed: cells.observed(),
    deviceBytes: readDeviceBytes(deviceStatPath),
  };
}

function readDeviceBytes(path: string | null): number | null {
  return path === null ? null : parseBlockStat(readFileSync(path, "latin1")).writtenBytes;
}

/** From how often the thread had been seen in each place, before and after; null if it was not looked at. */
export function mainThreadBetween(before: readonly number[], after: readonly number[]): MainThread | null {
  const counts = after.map((count, place) => count - before[place]!);
  const observations = counts.reduce((sum, count) => sum + count, 0);
  if (observations === 0) return null;
  const share = (...places: number[]) => places.reduce((sum, place) => sum + counts[place]!, 0) / observations;
  const engine = share(IN_ENGINE, IN_PRODUCER, IN_BROKER);
  return {
    observations,
    engine,
    // An engine that was not seen, or seen without a stage, has not said.
    broker: engine === 0 || counts[IN_ENGINE]! > 0 ? null : share(IN_BROKER),
    generator: share(IN_GENERATOR),
    eventLoop: share(IN_EVENT_LOOP),
  };
}
