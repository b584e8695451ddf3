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
import nodeRs from "@node-rs/crc32";
import { heap } from "../heap.js";
import { kernelOf } from "../kernel/kernel.js";
import { baseAddressOf } from "../storage/libc.js";

/** From these sizes on the native library is faster than the kernel. */
const CRC32_NATIVE_FROM_BYTES = 384;
const CRC32C_AWS_FROM_BYTES = 128;
const CRC32C_NODE_RS_FROM_BYTES = 768;

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
      const library = koffi.load(
        join(directory, `${process.platform}-${process.arch}-${runtime}`, "aws-crt-nodejs.node"),
      );
      const candidate = library.func("uint32_t aws_checksums_crc32c(uintptr_t, int, uint32_t)") as unknown as AwsCrc32c;
      if (isRight(candidate)) return candidate;
    } catch {
      // the next runtime, or the fallback
    }
  }
  return null;
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
