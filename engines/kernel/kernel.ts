import { readFileSync } from "node:fs";
import type { Heap } from "../heap.js";

/** The kernel's functions; addresses are heap addresses. Their documentation stands in `assembly/`. */
export interface Kernel {
  copyBytes(target: number, source: number, sizeBytes: number): void;

  /** Returns a signed 32-bit number: `>>> 0` makes it the unsigned checksum. */
  crc32(address: number, sizeBytes: number, previous: number): number;
  crc32c(address: number, sizeBytes: number, previous: number): number;

  openRecordBatch(control: number, batchAddress: number, limit: number): void;
  appendRecord(
    control: number,
    timestampMs: number,
    keyAddress: number,
    keySizeBytes: number,
    valueAddress: number,
    valueSizeBytes: number,
  ): number;
  appendValue(control: number, timestampMs: number, valueAddress: number, valueSizeBytes: number): number;
  appendRecordWithHeaders(
    control: number,
    timestampMs: number,
    keyAddress: number,
    keySizeBytes: number,
    valueAddress: number,
    valueSizeBytes: number,
    headersAddress: number,
    headersSizeBytes: number,
  ): number;
  openFramedBatch: Kernel["openRecordBatch"];
  frameRecord: Kernel["appendRecord"];
  frameValue: Kernel["appendValue"];
  frameRecordWithHeaders: Kernel["appendRecordWithHeaders"];
  assembleRecordBatch(control: number, target: number): void;
  sealRecordBatch(control: number, baseOffset: number, leaderEpoch: number, logAppendTimeMs: number): number;

  encodeCommitlogMessage(
    target: number,
    queue: number,
    origin: number,
    bodyAddress: number,
    bodySizeBytes: number,
    bodyCrc: number,
    propertiesSizeBytes: number,
    queueOffset: number,
    positionHigh: number,
    positionLow: number,
    bornTimestampMs: number,
  ): number;
  writeCommitlogCrcProperty(record: number, sizeBytes: number, crc: number): void;
  writeCommitlogKeys(target: number, keyAddress: number, keySizeBytes: number): number;
  placeCommitlogBatch(
    target: number,
    source: number,
    sizeBytes: number,
    positionHigh: number,
    positionLow: number,
    storeTimestampMs: number,
  ): number;
  passCommitlogMessages(
    address: number,
    availableBytes: number,
    positionHigh: number,
    positionLow: number,
    crcLimitBytes: number,
    table: number,
    tableMask: number,
    storeTimestampMs: number,
    result: number,
  ): number;
  parseCommitlogMessage(
    address: number,
    availableBytes: number,
    positionHigh: number,
    positionLow: number,
    crcLimitBytes: number,
    table: number,
    tableMask: number,
    result: number,
  ): number;
  registerCommitlogQueue(table: number, tableMask: number, queue: number): void;
  dispatchCommitlog(
    address: number,
    sizeBytes: number,
    positionHigh: number,
    positionLow: number,
    table: number,
    tableMask: number,
    list: number,
    progress: number,
  ): number;
}

const module = new WebAssembly.Module(readFileSync(new URL("./kernel.wasm", import.meta.url)));
const kernels = new WeakMap<Heap, Kernel>();

/** The kernel over `heap`'s memory, instantiated once per heap. */
export function kernelOf(heap: Heap): Kernel {
  let kernel = kernels.get(heap);
  if (kernel === undefined) {
    const instance = new WebAssembly.Instance(module, { env: { memory: heap.memory } });
    kernel = instance.exports as unknown as Kernel;
    kernels.set(heap, kernel);
  }
  return kernel;
}
