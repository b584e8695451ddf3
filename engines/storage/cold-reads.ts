/**
 * Makes reads cold for certain: takes a file out of the page cache, and says by the kernel's own account what is still in
 * it, and afterwards what was really read from the device. Linux.
 */

import fs from "node:fs";
import { adviseFile, declareCall, lastErrno, systemError } from "./libc.js";
import { endOfFile, mapForReading, unmap } from "./transfer-calls.js";

const DROP_CACHES_FILE = "/proc/sys/vm/drop_caches";
/** Pages on their way through a processor's own lists escape the first attempt. */
const ATTEMPTS = 3;
/** Device counters are in these, whatever the device's own sector size. */
const SECTOR_SIZE_BYTES = 512;

interface ResidencyCalls {
  readonly mincore: (address: number, sizeBytes: number, pages: Uint8Array) => number;
  readonly getpagesize: () => number;
}

let loaded: ResidencyCalls | undefined;

export interface CoolingReport {
  readonly by: "posix_fadvise" | "drop_caches";
  /** What stayed in the page cache, in whole pages: 0, or the file is not cold. A mapped page always stays. */
  readonly residentBytes: number;
}

/**
 * Writes the file's dirty pages back and drops its pages from the cache.
 *
 * @param mayDropAllCaches also drop the clean pages of every file of the machine if some of this one stay; takes root
 * @throws UnsupportedError (macOS), or as `fs` does
 */
export function makeCold(path: string, mayDropAllCaches: boolean): CoolingReport {
  const fd = fs.openSync(path, "r");
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      fs.fdatasyncSync(fd); // a dirty page is not dropped
      adviseFile(fd, "drop", 0, 0);
      if (residentBytesOf(fd) === 0) return { by: "posix_fadvise", residentBytes: 0 };
    }
    if (mayDropAllCaches && process.geteuid!() === 0) {
      fs.writeFileSync(DROP_CACHES_FILE, "1");
      return { by: "drop_caches", residentBytes: residentBytesOf(fd) };
    }
    return { by: "posix_fadvise", residentBytes: residentBytesOf(fd) };
  } finally {
    fs.closeSync(fd);
  }
}

/** Bytes of the file in the page cache, in whole pages. A kernel that hides this (not our file) says: all of them. */
export function residentBytes(path: string): number {
  const fd = fs.openSync(path, "r");
  try {
    return residentBytesOf(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function residentBytesOf(fd: number): number {
  const sizeBytes = endOfFile(fd);
  if (sizeBytes === 0) return 0;
  loaded ??= {
    mincore: declareCall("int mincore(uintptr_t, size_t, void*)"),
    getpagesize: declareCall("int getpagesize()"),
  };
  const pageSizeBytes = loaded.getpagesize();
  const pages = new Uint8Array(Math.ceil(sizeBytes / pageSizeBytes));
  const address = mapForReading(fd, sizeBytes);
  try {
    if (loaded.mincore(address, sizeBytes, pages) !== 0) throw systemError(lastErrno(), "mincore");
  } finally {
    unmap(address, sizeBytes);
  }
  let residentPages = 0;
  for (const page of pages) residentPages += page & 1;
  return residentPages * pageSizeBytes;
}

/** Counters that only grow: take them before and after, and the difference came from the device. */
export interface DeviceReads {
  /** What this process made the device read, read-ahead included. */
  readonly processBytes: number;
  /** What anybody made the device read that holds the file; null where it is not one device (overlay, network, RAM). */
  readonly deviceBytes: number | null;
}

export function deviceReads(path: string): DeviceReads {
  const io = fs.readFileSync("/proc/self/io", "utf8");
  const processBytes = Number(/^read_bytes: (\d+)$/m.exec(io)![1]);
  const { dev } = fs.statSync(path, { bigint: true });
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  const statFile = `/sys/dev/block/${major}:${minor}/stat`;
  if (!fs.existsSync(statFile)) return { processBytes, deviceBytes: null };
  // Documentation/block/stat.rst: reads, reads merged, sectors read, …
  const readSectors = Number(fs.readFileSync(statFile, "utf8").trim().split(/\s+/)[2]);
  return { processBytes, deviceBytes: readSectors * SECTOR_SIZE_BYTES };
}
