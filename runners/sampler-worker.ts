/** The sampler's thread: waits, reads counters of the kernel and of the process, waits again. */
import { readlinkSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import type { Sample, ThreadTimes } from "../results/schema.js";
import { clockFrom } from "./clock.js";
import { mainThreadBetween } from "./cost-meter.js";
import {
  openCounterFile,
  openMainSchedstat,
  parseBlockStat,
  parseCpuStat,
  parseMemory,
  parseResident,
  type ThreadRun,
} from "./kernel-counters.js";
import { encodeCounts } from "./latency-recorder.js";
import { endWithChildren, isOrphan } from "./orphan.js";
import {
  ACKNOWLEDGED,
  CELLS_PER_EVENT,
  DISPATCH_LAG_BYTES,
  EVENT_KINDS,
  EVENTS,
  GC_NS,
  LOOP_DELAY_NS,
  LOOP_IDLE_NS,
  LOOP_READ_NS,
  type SamplerAnswer,
  type SamplerStart,
  SharedCells,
  STOP,
  WAITING,
} from "./sampler-cells.js";
import { ThreadClock, threadTimesBetween } from "./thread-times.js";

/** Of samples so far apart the trial is long, and has looks enough if there are fewer a second. */
const LONG_INTERVAL_MS = 500;
/** A histogram for every interval of 100 ms or less would be most of a stored run. */
const HISTOGRAM_EVERY_NS = 250e6;
const ORPHAN_LOOK_MS = 500;

interface Reading {
  readonly atNs: number;
  readonly acknowledged: number;
  readonly garbageCollectionNs: number;
  readonly loop: { idleNs: number; readNs: number };
  readonly usage: NodeJS.ResourceUsage;
  readonly cpu: { totalTicks: number; stealTicks: number } | null;
  readonly device: { writtenBytes: number; busyMs: number } | null;
  readonly threads: ThreadTimes | null;
  readonly waitedNs: number | null;
  readonly observed: readonly number[];
  readonly events: readonly { count: number; totalNs: number }[];
}

const { originNs, intervalMs, deviceStatPath, threadPoolSize, cells: buffer } = workerData as SamplerStart;
/**
 * The main thread is looked at after between half and one and a half times as long, so that no rhythm of its own can
 * hide from it. A look costs about 80 µs of this thread, nearly all of them its waking; a sample 1.5 ms.
 */
const lookEveryMs = intervalMs < LONG_INTERVAL_MS ? 20 : 250;
const cells = new SharedCells(buffer);
const { numbers } = cells;
const clock = clockFrom(originNs);
const memory = openCounterFile("/proc/meminfo");
const cpuStat = openCounterFile("/proc/stat");
const deviceStat = deviceStatPath === null ? null : openCounterFile(deviceStatPath);
const status = openCounterFile("/proc/self/status");
const mainSchedstat = openMainSchedstat();
const ownThreadId = process.platform === "linux" ? Number(readlinkSync("/proc/thread-self").split("/").at(-1)) : null;

const threadClock = new ThreadClock(ownThreadId, threadPoolSize);

const countsBefore = cells.responseCounts.slice();
/** By the number of their sample; encoded when the load is over, since that takes milliseconds. */
const responseTimes = new Map<number, SparseCounts>();
let histogramAtNs = 0;
const mainRun: ThreadRun = { ranNs: 0, waitedNs: 0 };

let signal = waitGuarding(WAITING);
const started = read();
histogramAtNs = started.atNs;
parentPort!.postMessage({ threadId: ownThreadId });
const samples: Sample[] = [];
let last = started;
for (let index = 1; signal !== STOP; index++) {
  const dueNs = started.atNs + index * intervalMs * 1e6;
  let nowNs = clock.nowNs();
  do {
    const lookMs = lookEveryMs * (0.5 + Math.random());
    signal = cells.wait(signal, Math.max(0, Math.min((dueNs - nowNs) / 1e6, lookMs)));
    cells.observe();
    nowNs = clock.nowNs();
  } while (nowNs < dueNs && signal !== STOP);
  if (isOrphan()) endWithChildren();
  const reading = read();
  samples.push(sampleBetween(last, reading));
  if (reading.atNs - histogramAtNs >= HISTOGRAM_EVERY_NS || signal === STOP) {
    responseTimes.set(samples.length - 1, responseCountsUntil(reading.atNs));
  }
  last = reading;
}
for (const [at, counts] of responseTimes) samples[at]!.detail!.responseTime = encoded(counts);
const answer: SamplerAnswer<Sample> = {
  startedNs: started.atNs,
  samples,
  samplerCpuFraction:
    started.threads === null || last.threads === null
      ? null
      : (last.threads.samplerNs - started.threads.samplerNs) / (last.atNs - started.atNs),
};
parentPort!.postMessage(answer);
waitGuarding(STOP);

/**
 * Waits until the signal is no longer `state`. Meanwhile, before and after all sampling, it ends the process if nobody waits
 * for its answer any more: an engine that hangs in synchronous code would never learn that.
 */
function waitGuarding(state: number): number {
  for (;;) {
    const now = cells.wait(state, ORPHAN_LOOK_MS);
    if (now !== state) return now;
    if (isOrphan()) endWithChildren();
  }
}

function read(): Reading {
  const cpuText = cpuStat?.() ?? null;
  const deviceText = deviceStat?.() ?? null;
  return {
    atNs: clock.nowNs(),
    acknowledged: numbers[ACKNOWLEDGED]!,
    garbageCollectionNs: numbers[GC_NS]!,
    loop: { idleNs: numbers[LOOP_IDLE_NS]!, readNs: numbers[LOOP_READ_NS]! },
    usage: process.resourceUsage(),
    cpu: cpuText === null ? null : parseCpuStat(cpuText),
    device: deviceText === null ? null : parseBlockStat(deviceText),
    threads: threadClock.read(),
    waitedNs: mainWaitedNs(),
    observed: cells.observed(),
    events: EVENT_KINDS.map((_, kind) => {
      const at = EVENTS + CELLS_PER_EVENT * kind;
      return { count: numbers[at]!, totalNs: numbers[at + 1]! };
    }),
  };
}

function mainWaitedNs(): number | null {
  if (mainSchedstat === null) return null;
  mainSchedstat(mainRun);
  return mainRun.waitedNs;
}

function sampleBetween(before: Reading, after: Reading): Sample {
  const durationNs = after.atNs - before.atNs;
  const memoryText = memory?.() ?? null;
  const pages = memoryText === null ? null : parseMemory(memoryText);
  const ticks = before.cpu && after.cpu ? after.cpu.totalTicks - before.cpu.totalTicks : 0;
  const cpuMicroseconds = ({ userCPUTime, systemCPUTime }: NodeJS.ResourceUsage) => userCPUTime + systemCPUTime;
  return {
    atNs: after.atNs - started.atNs,
    durationNs,
    acknowledgedMessages: after.acknowledged - before.acknowledged,
    dirtyBytes: pages?.dirtyBytes ?? null,
    writebackBytes: pages?.writebackBytes ?? null,
    deviceWrittenBytes: before.device && after.device ? after.device.writtenBytes - before.device.writtenBytes : null,
    deviceUtilisation:
      before.device && after.device
        ? Math.min(1, ((after.device.busyMs - before.device.busyMs) * 1e6) / durationNs)
        : null,
    processCpuFraction: ((cpuMicroseconds(after.usage) - cpuMicroseconds(before.usage)) * 1000) / durationNs,
    stealFraction: before.cpu && after.cpu && ticks > 0 ? (after.cpu.stealTicks - before.cpu.stealTicks) / ticks : null,
    garbageCollectionNs: after.garbageCollectionNs - before.garbageCollectionNs,
    eventLoopDelayMaxNs: take(LOOP_DELAY_NS, 0),
    eventLoopUtilisation: loopUtilisation(before.loop, after.loop),
    detail: detailBetween(before, after),
  };
}

/** Between the last heartbeats of two readings; null: there was none meanwhile, or only the first of all. */
function loopUtilisation(before: Reading["loop"], after: Reading["loop"]): number | null {
  const durationNs = after.readNs - before.readNs;
  if (before.readNs === 0 || durationNs <= 0) return null;
  return Math.min(1, Math.max(0, 1 - (after.idleNs - before.idleNs) / durationNs));
}

function detailBetween(before: Reading, after: Reading): NonNullable<Sample["detail"]> {
  const statusText = status?.() ?? null;
  const resident = statusText === null ? null : parseResident(statusText);
  const lagBytes = take(DISPATCH_LAG_BYTES, -1);
  const between = (name: keyof NodeJS.ResourceUsage) => after.usage[name] - before.usage[name];
  return {
    responseTime: null,
    threads: threadTimesBetween(before.threads, after.threads),
    mainThread: mainThreadBetween(before.observed, after.observed),
    processorWaitNs:
      before.waitedNs === null || after.waitedNs === null ? null : Math.max(0, after.waitedNs - before.waitedNs),
    voluntarySwitches: between("voluntaryContextSwitches"),
    involuntarySwitches: between("involuntaryContextSwitches"),
    minorFaults: between("minorPageFault"),
    majorFaults: between("majorPageFault"),
    residentBytes: resident?.residentBytes ?? null,
    anonymousBytes: resident?.anonymousBytes ?? null,
    dispatchLagMaxBytes: lagBytes < 0 ? null : lagBytes,
    events: Object.fromEntries(
      EVENT_KINDS.flatMap((kind, i) => {
        const longestNs = take(EVENTS + CELLS_PER_EVENT * i + 2, 0);
        const count = after.events[i]!.count - before.events[i]!.count;
        const totalNs = after.events[i]!.totalNs - before.events[i]!.totalNs;
        return count === 0 ? [] : [[kind, { count, totalNs, longestNs }]];
      }),
    ),
  };
}

/** Of a cell that keeps a maximum: what it is, to begin anew. */
function take(cell: number, empty: number): number {
  const value = numbers[cell]!;
  numbers[cell] = empty;
  return value;
}

/** Those of an interval that are not zero. */
interface SparseCounts {
  readonly buckets: number[];
  readonly counts: number[];
}

function responseCountsUntil(nowNs: number): SparseCounts {
  histogramAtNs = nowNs;
  const { responseCounts } = cells;
  const sparse: SparseCounts = { buckets: [], counts: [] };
  for (let bucket = 0; bucket < responseCounts.length; bucket++) {
    // Read once: they go on counting.
    const now = responseCounts[bucket]!;
    const before = countsBefore[bucket]!;
    if (now === before) continue;
    sparse.buckets.push(bucket);
    sparse.counts.push(now - before);
    countsBefore[bucket] = now;
  }
  return sparse;
}

function encoded({ buckets, counts }: SparseCounts): NonNullable<Sample["detail"]>["responseTime"] {
  if (buckets.length === 0) return null;
  const dense = new Float64Array(countsBefore.length);
  for (const [at, bucket] of buckets.entries()) dense[bucket] = counts[at]!;
  return encodeCounts(dense, 2);
}
