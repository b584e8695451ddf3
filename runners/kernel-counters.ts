/** The kernel's own counters as text files; each parser is pure. Sources: proc(5), Documentation/block/stat.rst. */
import { openSync, readSync } from "node:fs";

const SECTOR_SIZE_BYTES = 512;
const TEXT_LIMIT_BYTES = 8192;
/** Three numbers of 64 bits. */
const SCHEDSTAT_LIMIT_BYTES = 3 * 21;
const DIGIT_0 = 0x30;
const TEXT = Buffer.alloc(TEXT_LIMIT_BYTES);

/** Keeps a counter file open. @returns what reads its beginning afresh, or null where there is no such file */
export function openCounterFile(path: string): (() => string) | null {
  const descriptor = tryOpen(path);
  if (descriptor === null) return null;
  return () => TEXT.toString("latin1", 0, readSync(descriptor, TEXT, 0, TEXT_LIMIT_BYTES, 0));
}

/** The same for the schedstat of a thread, which is read so often that no text is made of it. */
export function openSchedstat(path: string): ((into: ThreadRun) => void) | null {
  const descriptor = tryOpen(path);
  if (descriptor === null) return null;
  return (into) => parseSchedstat(TEXT, readSync(descriptor, TEXT, 0, SCHEDSTAT_LIMIT_BYTES, 0), into);
}

/** That of the main thread, for whichever thread asks. */
export function openMainSchedstat(): ((into: ThreadRun) => void) | null {
  return openSchedstat(`/proc/self/task/${process.pid}/schedstat`);
}

/** Of /proc/meminfo: bytes that wait to be written back, and that are being so. */
export function parseMemory(text: string): { dirtyBytes: number; writebackBytes: number } {
  return { dirtyBytes: memoryField(text, "Dirty"), writebackBytes: memoryField(text, "Writeback") };
}

/** Of /proc/stat: all time of all processors so far, the part in which they idled, and what the hypervisor gave to others. */
export function parseCpuStat(text: string): {
  totalTicks: number;
  idleTicks: number;
  stealTicks: number;
  processorCount: number;
} {
  const fields = text.slice(0, text.indexOf("\n")).trim().split(/\s+/).slice(1).map(Number);
  // user nice system idle iowait irq softirq steal; guest time, after these, is in user already.
  const counted = fields.slice(0, 8);
  return {
    totalTicks: counted.reduce((sum, ticks) => sum + ticks, 0),
    idleTicks: (counted[3] ?? 0) + (counted[4] ?? 0),
    stealTicks: counted[7] ?? 0,
    processorCount: text.match(/^cpu\d+ /gm)?.length ?? 1,
  };
}

/** Of /sys/dev/block/M:m/stat: bytes written, and milliseconds in which the device was busy. */
export function parseBlockStat(text: string): { writtenBytes: number; busyMs: number } {
  const fields = text.trim().split(/\s+/).map(Number);
  return { writtenBytes: (fields[6] ?? 0) * SECTOR_SIZE_BYTES, busyMs: fields[9] ?? 0 };
}

/** Of /proc/self/io: bytes that the process made the storage layer owe to a device, stores into mappings included. */
export function parseProcessIo(text: string): { writtenBytes: number } {
  const field = (name: string) => Number(new RegExp(`^${name}: (\\d+)$`, "m").exec(text)?.[1] ?? 0);
  return { writtenBytes: Math.max(0, field("write_bytes") - field("cancelled_write_bytes")) };
}

/** How long a thread ran, and how long it was ready and had no processor. */
export interface ThreadRun {
  ranNs: number;
  waitedNs: number;
}

/** Of /proc/[pid]/task/[tid]/schedstat, `sizeBytes` bytes of `text`: its first two numbers. */
export function parseSchedstat(text: Uint8Array, sizeBytes: number, into: ThreadRun): void {
  let value = 0;
  let at = 0;
  for (; at < sizeBytes && text[at]! >= DIGIT_0; at++) value = value * 10 + text[at]! - DIGIT_0;
  into.ranNs = value;
  value = 0;
  for (at++; at < sizeBytes && text[at]! >= DIGIT_0; at++) value = value * 10 + text[at]! - DIGIT_0;
  into.waitedNs = value;
}

/** Of /proc/self/status: memory in RAM, and the part of it that belongs to no file. */
export function parseResident(text: string): { residentBytes: number; anonymousBytes: number } {
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
  return { residentBytes: field("VmRSS"), anonymousBytes: field("RssAnon") };
}

function tryOpen(path: string): number | null {
  try {
    return openSync(path, "r");
  } catch {
    return null;
  }
}

function memoryField(text: string, name: string): number {
  const match = new RegExp(`^${name}: +(\\d+) kB`, "m").exec(text);
  return match === null ? 0 : Number(match[1]) * 1024;
}
