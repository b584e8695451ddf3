/**
 * The two checksums of the formats, over heap bytes, each by the fastest way at hand for the size. Chosen once, when the
 * module loads; `checksumProviders` says what was chosen, for the environment of a result.
 *
 * ns a call, Node 20 on a 2-core VM (read the ratios), at  64 B   200 B   1 KiB   16 KiB
 *   kernel, slicing by 16, either checksum                   34     100     565     8 850
 *   CRC-32C, aws-crt's library called through koffi          57      63     147       733
 *   CRC-32C, @node-rs/crc32                                 178     205     603     3 570
 *   CRC-32, @node-rs/crc32                                  180     170     320     2 000
 *   CRC-32, node:zlib                                       180     170     540     5 000
 */

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { isMainThread, Worker } from "node:worker_threads";
import nodeRs from "@node-rs/crc32";
import { heap, isHeapLent } from "../heap.js";
import { kernelOf } from "../kernel/kernel.js";
import { baseAddressOf } from "../storage/libc.js";

/** From these sizes on the native library is faster than the kernel. */
const CRC32_NATIVE_FROM_BYTES = 384;
const CRC32C_AWS_FROM_BYTES = 128;
const CRC32C_NODE_RS_FROM_BYTES = 768;

const LOAD_ASIDE_LIMIT_MS = 5_000;

type AwsCrc32c = (address: number, sizeBytes: number, previous: number) => number;

const kernel = kernelOf(heap);
const aws = loadAwsCrc32c();
const baseAddress = aws === null ? 0 : baseAddressOf(heap);
const crc32cNativeFromBytes = aws === null ? CRC32C_NODE_RS_FROM_BYTES : CRC32C_AWS_FROM_BYTES;

/** CRC-32C (Castagnoli; the record batch's) of a heap range, as an unsigned 32-bit number. */
export function crc32c(heapAddress: number, sizeBytes: number): number {
  if (sizeBytes < crc32cNativeFromBytes) return kernel.crc32c(heapAddress, sizeBytes, 0) >>> 0;
  if (aws !== null) return aws(baseAddress + heapAddress, sizeBytes, 0);
  return nodeRs.crc32c(heap.bytes.subarray(heapAddress, heapAddress + sizeBytes) as Buffer);
}

/** CRC-32 (IEEE 802.3; the commitlog message body's) of a heap range, as an unsigned 32-bit number. */
export function crc32(heapAddress: number, sizeBytes: number): number {
  if (sizeBytes < CRC32_NATIVE_FROM_BYTES) return kernel.crc32(heapAddress, sizeBytes, 0) >>> 0;
  return nodeRs.crc32(heap.bytes.subarray(heapAddress, heapAddress + sizeBytes) as Buffer);
}

/** The same, for a caller who has a view of the bytes already: for sizes at which `crc32` would make one. */
export function crc32OfView(bytes: Uint8Array): number {
  return nodeRs.crc32(bytes as Buffer);
}

/** What computes each checksum in this process. */
export function checksumProviders(): Record<string, string> {
  return {
    "CRC-32C": `kernel below ${crc32cNativeFromBytes} bytes, ${aws === null ? "@node-rs/crc32" : "aws-crt"} from there on`,
    "CRC-32": `kernel below ${CRC32_NATIVE_FROM_BYTES} bytes, @node-rs/crc32 from there on`,
  };
}

/**
 * aws-crt (an optional dependency) ships the AWS checksums library prebuilt; called with an address it needs no view of
 * the bytes and no N-API. Null where it is not installed, not built for this machine, or wrong on the check value.
 */
function loadAwsCrc32c(): AwsCrc32c | null {
  const require = createRequire(import.meta.url);
  const runtimes = process.platform === "darwin" ? ["cruntime"] : ["glibc", "musl"];
  for (const runtime of runtimes) {
    try {
      const koffi = require("koffi") as typeof import("koffi");
      const directory = join(dirname(require.resolve("aws-crt/package.json")), "dist", "bin");
      const path = join(directory, `${process.platform}-${process.arch}-${runtime}`, "aws-crt-nodejs.node");
      const library = loadAside(require.resolve("koffi"), path, () => koffi.load(path));
      const candidate = library.func("uint32_t aws_checksums_crc32c(uintptr_t, int, uint32_t)") as unknown as AwsCrc32c;
      // A thread that has lent its heap has checked the library, too.
      if (isHeapLent || isRight(candidate)) return candidate;
    } catch {
      // the next runtime, or the fallback
    }
  }
  return null;
}

/**
 * Loads an addon as a mere library. When an addon is loaded it registers itself with the thread that loads it, and unless
 * Node itself loads it the registration is left over: the next real addon of that thread would abort the process. (And
 * Node must not load this one: it would take over the signal handlers.) So another thread is the first to load it, and
 * takes the registration along when it ends.
 */
function loadAside<T>(koffiPath: string, path: string, load: () => T): T {
  if (!isMainThread) return load();
  const state = new Int32Array(new SharedArrayBuffer(4));
  const source = `
    const { koffiPath, path, state } = require("node:worker_threads").workerData;
    try { require(koffiPath).load(path); } finally {
      Atomics.store(state, 0, 1);
      Atomics.notify(state, 0);
      Atomics.wait(state, 0, 1, ${LOAD_ASIDE_LIMIT_MS});
    }`;
  const worker = new Worker(source, { eval: true, workerData: { koffiPath, path, state } });
  worker.on("error", () => {});
  worker.unref();
  // Unless it is there by now, loading it here would leave the registration on this thread.
  if (Atomics.wait(state, 0, 0, LOAD_ASIDE_LIMIT_MS) === "timed-out") throw new Error(`${path} did not load in time.`);
  const library = load();
  Atomics.store(state, 0, 2);
  Atomics.notify(state, 0);
  return library;
}

/** Compares with the kernel over a size that takes the library's wide path and its tail. */
function isRight(candidate: AwsCrc32c): boolean {
  const sizeBytes = 4_099;
  const address = heap.allocate(sizeBytes);
  for (let i = 0; i < sizeBytes; i++) heap.bytes[address + i] = i * 31;
  const isEqual = candidate(baseAddressOf(heap) + address, sizeBytes, 0) === kernel.crc32c(address, sizeBytes, 0) >>> 0;
  heap.release(address);
  return isEqual;
}
