import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { heap } from "../heap.js";
import { kernelOf } from "../kernel/kernel.js";
import { checksumProviders, crc32, crc32c } from "./checksums.js";

const kernel = kernelOf(heap);
const area = heap.allocate(70_000);
afterAll(() => heap.release(area));

/** The plain definition: one bit at a time. */
function reference(polynomial: number, bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
  }
  return ~value >>> 0;
}
const IEEE = 0xedb88320;
const CASTAGNOLI = 0x82f63b78;

it("has the published check values", () => {
  heap.bytes.set(Buffer.from("123456789"), area);
  expect(crc32c(area, 9)).toBe(0xe3069283);
  expect(crc32(area, 9)).toBe(0xcbf43926);
  expect(crc32(area, 0)).toBe(0);
  expect(crc32c(area, 0)).toBe(0);
});

it("equals the definition at every size around the change of provider, at any alignment", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.nat(70), fc.integer({ min: 120, max: 140 }), fc.integer({ min: 370, max: 4_200 })),
      fc.nat(33),
      fc.infiniteStream(fc.nat(255)),
      (sizeBytes, shift, stream) => {
        const bytes = Uint8Array.from({ length: sizeBytes }, () => stream.next().value as number);
        heap.bytes.set(bytes, area + shift);
        expect(crc32(area + shift, sizeBytes)).toBe(reference(IEEE, bytes));
        expect(crc32c(area + shift, sizeBytes)).toBe(reference(CASTAGNOLI, bytes));
      },
    ),
    { numRuns: 150 },
  );
});

it("the kernel goes on from a previous checksum, and agrees with the native ones where they take over", () => {
  for (let i = 0; i < 65_536; i++) heap.bytes[area + i] = (i * 2_654_435_761) >>> 13;
  for (const sizeBytes of [127, 128, 383, 384, 767, 768, 65_535, 65_536]) {
    const split = sizeBytes >> 2;
    const goOn = (part: "crc32" | "crc32c") =>
      kernel[part](area + split, sizeBytes - split, kernel[part](area, split, 0)) >>> 0;
    expect(goOn("crc32")).toBe(crc32(area, sizeBytes));
    expect(goOn("crc32c")).toBe(crc32c(area, sizeBytes));
  }
});

it("tells what computes them", () => {
  expect(Object.keys(checksumProviders())).toEqual(["CRC-32C", "CRC-32"]);
});
