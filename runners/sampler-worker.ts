/** The sampler's thread: waits, reads counters of the kernel and of the process, waits again. */
import { parentPort, workerData } from "node:worker_threads";
import type { Sample } from "../results/schema.js";
import { clockFrom } from "./clock.js";
import { openCounterFile, parseBlockStat, parseCpuStat, parseMemory } from "./kernel-counters.js";
import { ACKNOWLEDGED, GC_NS, LOOP_DELAY_NS, type SamplerStart, SharedCells, STOP, WAITING } from "./sampler-cells.js";

interface Reading {
  readonly atNs: number;
  readonly acknowledged: number;
  readonly garbageCollectionNs: number;
  readonly cpuNs: number;
  readonly cpu: { totalTicks: number; stealTicks: number } | null;
  readonly device: { writtenBytes: number; busyMs: number } | null;
}

const { originNs, intervalMs, deviceStatPath, cells: buffer } = workerData as SamplerStart;
const cells = new SharedCells(buffer);
const clock = clockFrom(originNs);
const memory = openCounterFile("/proc/meminfo");
const cpuStat = openCounterFile("/proc/stat");
const deviceStat = deviceStatPath === null ? null : openCounterFile(deviceStatPath);

let signal = cells.wait(WAITING, Number.POSITIVE_INFINITY);
const started = read();
parentPort!.postMessage("begun");
const samples: Sample[] = [];
let last = started;
for (let index = 1; signal !== STOP; index++) {
  const dueNs = started.atNs + index * intervalMs * 1e6;
  signal = cells.wait(signal, Math.max(0, (dueNs - clock.nowNs()) / 1e6));
  const reading = read();
  samples.push(sampleBetween(last, reading));
  last = reading;
}
parentPort!.postMessage(samples);

function read(): Reading {
  const usage = process.cpuUsage();
  const cpuText = cpuStat?.() ?? null;
  const deviceText = deviceStat?.() ?? null;
  return {
    atNs: clock.nowNs(),
    acknowledged: cells.numbers[ACKNOWLEDGED]!,
    garbageCollectionNs: cells.numbers[GC_NS]!,
    cpuNs: (usage.user + usage.system) * 1000,
    cpu: cpuText === null ? null : parseCpuStat(cpuText),
    device: deviceText === null ? null : parseBlockStat(deviceText),
  };
}

function sampleBetween(before: Reading, after: Reading): Sample {
  const durationNs = after.atNs - before.atNs;
  const memoryText = memory?.() ?? null;
  const pages = memoryText === null ? null : parseMemory(memoryText);
  const loopDelayNs = cells.numbers[LOOP_DELAY_NS]!;
  cells.numbers[LOOP_DELAY_NS] = 0;
  const ticks = before.cpu && after.cpu ? after.cpu.totalTicks - before.cpu.totalTicks : 0;
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
    processCpuFraction: (after.cpuNs - before.cpuNs) / durationNs,
    stealFraction: before.cpu && after.cpu && ticks > 0 ? (after.cpu.stealTicks - before.cpu.stealTicks) / ticks : null,
    garbageCollectionNs: after.garbageCollectionNs - before.garbageCollectionNs,
    eventLoopDelayMaxNs: loopDelayNs,
  };
}
