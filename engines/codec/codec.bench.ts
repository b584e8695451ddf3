/**
 * `npm run bench:micro`: what one call of a codec costs, for exploring on a terminal. mitata drops the slowest and fastest
 * samples, which is right for the cost of a computation and wrong for a latency: nothing here feeds a report or the gate.
 */
import { bench, group, run, summary } from "mitata";
import { heap } from "../heap.js";
import { kernelOf } from "../kernel/kernel.js";
import { crc32, crc32c } from "./checksums.js";
import { encodeMessage } from "./commitlog-message.js";
import { BATCH_HEADER_SIZE_BYTES, CHECKED_AT } from "./record-batch.js";
import { varintSizeBytes, writeVarint } from "./varint.js";

const kernel = kernelOf(heap);
const payload = heap.allocate(65_536);
for (let i = 0; i < 65_536; i++) heap.bytes[payload + i] = (i * 31) & 0xff;
const target = heap.allocate(65_536);

const BATCH_SIZE_BYTES = 16_384;
const CONTROL_SIZE_BYTES = 64;
const control = heap.allocate(CONTROL_SIZE_BYTES, CONTROL_SIZE_BYTES);
const TIMESTAMP_MS = 1_700_000_000_000;

group("checksum", () => {
  for (const sizeBytes of [100, 1_024, 16_384]) {
    summary(() => {
      bench(`crc32c, ${sizeBytes} B`, () => crc32c(payload, sizeBytes));
      bench(`crc32, ${sizeBytes} B`, () => crc32(payload, sizeBytes));
    });
  }
});

group("record batch of 16 KiB, filled and sealed", () => {
  for (const messageSizeBytes of [100, 1_024]) {
    const fill = () => {
      kernel.openRecordBatch(control, target, target + BATCH_SIZE_BYTES);
      while (kernel.appendRecord(control, TIMESTAMP_MS, -1, -1, payload, messageSizeBytes) === 1);
      return kernel.sealRecordBatch(control, 0, 0, -1);
    };
    bench(`messages of ${messageSizeBytes} B, without checksum`, fill);
    bench(`messages of ${messageSizeBytes} B, with CRC-32C`, () => crc32c(target + CHECKED_AT, fill() - CHECKED_AT));
  }
});

group("commitlog message, plain reference encoder (the kernel's is in bench:engines)", () => {
  for (const bodySizeBytes of [100, 1_024]) {
    const host = { address: Uint8Array.of(127, 0, 0, 1), port: 10_911 };
    const message = {
      queueId: 3,
      flag: 0,
      queueOffset: 7,
      physicalOffset: 4_096,
      sysFlag: 0,
      bornTimestampMs: TIMESTAMP_MS,
      bornHost: host,
      storeTimestampMs: TIMESTAMP_MS,
      storeHost: host,
      reconsumeTimes: 0,
      preparedTransactionOffset: 0,
      body: heap.bytes.slice(payload, payload + bodySizeBytes),
      topic: "bench",
      properties: new Uint8Array(0),
    };
    bench(`body of ${bodySizeBytes} B`, () => encodeMessage(message));
  }
});

group("varint", () => {
  const scratch = new Uint8Array(16);
  bench("write 1 byte", () => writeVarint(42, scratch, 0));
  bench("write 3 bytes", () => writeVarint(8_192, scratch, 0));
  bench("size", () => varintSizeBytes(8_192));
});

group("copy inside the heap", () => {
  for (const sizeBytes of [100, 1_024, BATCH_SIZE_BYTES]) {
    bench(`${sizeBytes} B`, () => kernel.copyBytes(target + BATCH_HEADER_SIZE_BYTES, payload, sizeBytes));
  }
});

await run();
