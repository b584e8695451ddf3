import { setTimeout as sleep } from "node:timers/promises";
import { openCounterFile, parseBlockStat, parseCpuStat } from "./kernel-counters.js";

/** What the machine did while this process did nothing. */
export interface Neighbours {
  /** Share of all processors that was busy, what the hypervisor withheld left out. */
  readonly busyFraction: number;
  /** Share of all processors that the hypervisor withheld. */
  readonly stealFraction: number;
  readonly writtenBytesPerSecond: number;
  /** On the clock of /proc's times of processes: what one processor has in that time. */
  readonly ticksOfOneProcessor: number;
}

/** Sleeps and compares the kernel's counters; null where the platform has none. */
export async function listenFor(durationMs: number, deviceStatPath: string | null): Promise<Neighbours | null> {
  const processors = openCounterFile("/proc/stat");
  if (processors === null) return null;
  const device = deviceStatPath === null ? null : openCounterFile(deviceStatPath);
  const read = () => ({
    cpu: parseCpuStat(processors()),
    writtenBytes: device === null ? 0 : parseBlockStat(device()).writtenBytes,
  });
  const before = read();
  await sleep(durationMs);
  const after = read();
  const ticks = Math.max(1, after.cpu.totalTicks - before.cpu.totalTicks);
  const steal = after.cpu.stealTicks - before.cpu.stealTicks;
  const idle = after.cpu.idleTicks - before.cpu.idleTicks;
  return {
    busyFraction: Math.max(0, 1 - (idle + steal) / ticks),
    stealFraction: steal / ticks,
    writtenBytesPerSecond: ((after.writtenBytes - before.writtenBytes) * 1_000) / durationMs,
    ticksOfOneProcessor: ticks / after.cpu.processorCount,
  };
}
