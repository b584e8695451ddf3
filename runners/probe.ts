/**
 * What the device itself can do, measured before the trials in the directory that they will use, through the same
 * synchronous calls that the engines use.
 */
import { closeSync, constants, fdatasyncSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../results/random.js";
import type { ProbeResult } from "../results/schema.js";
import { clockFrom } from "./clock.js";
import { LatencyRecorder } from "./latency-recorder.js";
import { BATCH_SIZE_BYTES, LARGE_SIZE_BYTES, PAGE_SIZE_BYTES, type ProbeInput } from "./probe-protocol.js";

const clock = clockFrom(process.hrtime.bigint());
/** Direct input and output need page-aligned memory, which a WebAssembly memory always is. */
const block = new Uint8Array(new WebAssembly.Memory({ initial: LARGE_SIZE_BYTES / 65_536 }).buffer);

/** Runs all measurements, one after the other, and removes its files. */
export function probeDevice(input: ProbeInput): ProbeResult[] {
  const random = seededRandom(input.seed);
  for (let at = 0; at < block.length; at++) block[at] = Math.floor(random() * 256);
  const buffered = join(input.directory, "probe-buffered");
  const direct = join(input.directory, "probe-direct");
  const results = [
    sequentialWrite("buffered-write", buffered, 0, BATCH_SIZE_BYTES, input),
    sequentialWrite("direct-write", direct, constants.O_DIRECT, LARGE_SIZE_BYTES, input),
    syncedWrite("sync-append", join(input.directory, "probe-append"), input, () => null),
  ];
  // The reads and overwrites need a file of full size whose blocks are all written.
  const { sizeBytes } = fill(buffered, input.fileSizeBytes);
  const randomBlock = (size: number) => Math.floor((random() * sizeBytes) / size) * size;
  results.push(
    syncedWrite("sync-overwrite", buffered, input, () => randomBlock(PAGE_SIZE_BYTES)),
    directRead("random-read", buffered, PAGE_SIZE_BYTES, input, () => randomBlock(PAGE_SIZE_BYTES)),
    directRead("random-read", buffered, BATCH_SIZE_BYTES, input, () => randomBlock(BATCH_SIZE_BYTES)),
    directRead("sequential-read", buffered, LARGE_SIZE_BYTES, input, (i) => (i * LARGE_SIZE_BYTES) % sizeBytes),
  );
  for (const path of [buffered, direct, join(input.directory, "probe-append")]) removeIfThere(path);
  return results;
}

function sequentialWrite(
  id: "buffered-write" | "direct-write",
  path: string,
  flag: number | undefined,
  blockSizeBytes: number,
  input: ProbeInput,
): ProbeResult {
  if (flag === undefined) return unavailable(id, blockSizeBytes, "This platform has no O_DIRECT.");
  const flags = constants.O_CREAT | constants.O_TRUNC | constants.O_WRONLY | flag;
  return measure(id, path, flags, blockSizeBytes, input, (file, i) => {
    if ((i + 1) * blockSizeBytes > input.fileSizeBytes) return false;
    writeSync(file, block, 0, blockSizeBytes, i * blockSizeBytes);
    return true;
  });
}

/** Writes one page and waits for fdatasync, at the end of a growing file or where `position` says. */
function syncedWrite(
  id: "sync-append" | "sync-overwrite",
  path: string,
  input: ProbeInput,
  position: () => number | null,
): ProbeResult {
  const flags = constants.O_CREAT | constants.O_WRONLY;
  return measure(id, path, flags, PAGE_SIZE_BYTES, input, (file, i) => {
    writeSync(file, block, 0, PAGE_SIZE_BYTES, position() ?? i * PAGE_SIZE_BYTES);
    fdatasyncSync(file);
    return true;
  });
}

/** Cold for certain: direct reads pass the page cache by. */
function directRead(
  id: "random-read" | "sequential-read",
  path: string,
  blockSizeBytes: number,
  input: ProbeInput,
  position: (index: number) => number,
): ProbeResult {
  if (constants.O_DIRECT === undefined) return unavailable(id, blockSizeBytes, "This platform has no O_DIRECT.");
  return measure(id, path, constants.O_RDONLY | constants.O_DIRECT, blockSizeBytes, input, (file, i) => {
    readSync(file, block, 0, blockSizeBytes, position(i));
    return true;
  });
}

/** Repeats `operate` until the time is up or it returns false. Where the filesystem refuses, says so in the result. */
function measure(
  id: ProbeResult["id"],
  path: string,
  flags: number,
  blockSizeBytes: number,
  input: ProbeInput,
  operate: (file: number, index: number) => boolean,
): ProbeResult {
  const recorder = new LatencyRecorder();
  let operations = 0;
  let file: number | null = null;
  try {
    file = openSync(path, flags, 0o600);
    const startedNs = clock.nowNs();
    const endNs = startedNs + input.durationMs * 1e6;
    let beforeNs = startedNs;
    while (beforeNs < endNs && operate(file, operations)) {
      operations++;
      const afterNs = clock.nowNs();
      recorder.record(afterNs - beforeNs);
      beforeNs = afterNs;
    }
    const seconds = (beforeNs - startedNs) / 1e9;
    const operationsPerSecond = seconds === 0 ? 0 : operations / seconds;
    return {
      id,
      tool: "logduel",
      blockSizeBytes,
      operations,
      operationsPerSecond,
      bytesPerSecond: operationsPerSecond * blockSizeBytes,
      latency: recorder.encode(),
      unavailable: null,
    };
  } catch (error) {
    return unavailable(id, blockSizeBytes, `The filesystem refused: ${(error as Error).message}.`);
  } finally {
    if (file !== null) closeSync(file);
  }
}

/** Writes the file to its full size, in whole large blocks, and onto the device. */
function fill(path: string, atLeastBytes: number): { sizeBytes: number } {
  const file = openSync(path, constants.O_CREAT | constants.O_WRONLY, 0o600);
  const blockCount = Math.ceil(atLeastBytes / LARGE_SIZE_BYTES);
  for (let i = 0; i < blockCount; i++) writeSync(file, block, 0, LARGE_SIZE_BYTES, i * LARGE_SIZE_BYTES);
  fdatasyncSync(file);
  closeSync(file);
  return { sizeBytes: blockCount * LARGE_SIZE_BYTES };
}

function unavailable(id: ProbeResult["id"], blockSizeBytes: number, reason: string): ProbeResult {
  return {
    id,
    tool: "logduel",
    blockSizeBytes,
    operations: 0,
    bytesPerSecond: 0,
    operationsPerSecond: 0,
    latency: null,
    unavailable: reason,
  };
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
