import fc from "fast-check";
import { expect, it } from "vitest";
import { Heap, heap } from "./heap.js";
import { InvariantError } from "./invariant.js";
import { kernelOf } from "./kernel/kernel.js";

const HEAP_SIZE_BYTES = heap.bytes.byteLength;

it("gives out ranges that are aligned, apart from each other and never at address 0; releasing all restores it all", () => {
  const own = new Heap();
  const whole = own.allocate(HEAP_SIZE_BYTES - 65_536);
  own.release(whole);
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.record({ sizeBytes: fc.integer({ min: 1, max: 100_000 }), alignment: fc.constantFrom(1, 16, 4_096) }),
          fc.record({ release: fc.nat(1_000) }),
        ),
        { maxLength: 60 },
      ),
      (steps) => {
        const held: { address: number; sizeBytes: number }[] = [];
        for (const step of steps) {
          if ("release" in step) {
            if (held.length > 0) own.release(held.splice(step.release % held.length, 1)[0]!.address);
            continue;
          }
          const address = own.allocate(step.sizeBytes, step.alignment);
          expect(address % step.alignment).toBe(0);
          expect(address).toBeGreaterThan(0);
          for (const other of held) {
            expect(address + step.sizeBytes <= other.address || other.address + other.sizeBytes <= address).toBe(true);
          }
          held.push({ address, sizeBytes: step.sizeBytes });
        }
        for (const { address } of held) own.release(address);
        expect(own.allocate(HEAP_SIZE_BYTES - 65_536)).toBe(whole);
        own.release(whole);
      },
    ),
    { numRuns: 100 },
  );
});

it("reserves windows of whole 64 KiB for mappings", () => {
  heap.allocate(100);
  const window = heap.reserveWindow(65_537);
  const next = heap.reserveWindow(1);
  expect(window % 65_536).toBe(0);
  expect(next - window).toBeGreaterThanOrEqual(2 * 65_536);
  heap.release(window);
  heap.release(next);
});

it("aligns large windows where the machine maps large pages, and small ones to 64 KiB", () => {
  const own = new Heap();
  const machineAddress = 0x7f6a_5c7b_0000;
  own.liesAt(machineAddress);
  own.allocate(100);
  for (const sizeBytes of [2 << 20, (64 << 20) + 65_536]) {
    expect((machineAddress + own.reserveWindow(sizeBytes)) % (2 << 20)).toBe(0);
  }
  expect(own.reserveWindow(65_536) % 65_536).toBe(0);
});

it("says when it is exhausted, and refuses what was not allocated", () => {
  expect(() => heap.allocate(HEAP_SIZE_BYTES)).toThrow(RangeError);
  for (const sizeBytes of [0, -1, 1.5, Number.NaN]) expect(() => heap.allocate(sizeBytes)).toThrow(InvariantError);
  const address = heap.allocate(10);
  expect(() => heap.release(address + 1)).toThrow(InvariantError);
  heap.release(address);
  expect(() => heap.release(address)).toThrow(InvariantError);
});

it("places copies and knows their addresses", () => {
  const original = Buffer.from("payload");
  const placed = heap.place(original);
  original.fill(0);
  expect(Buffer.from(placed).toString()).toBe("payload");
  expect(heap.addressOf(placed)).toBe(placed.byteOffset);
  expect(heap.addressOf(placed.subarray(3))).toBe(placed.byteOffset + 3);
  expect(heap.addressOf(original)).toBe(-1);
  expect(heap.addressOf(null)).toBe(-1);
  expect(heap.place(new Uint8Array()).byteLength).toBe(0);
});

it("the kernel's copy equals the plain one, at any size and alignment, and touches nothing else", () => {
  const kernel = kernelOf(heap);
  const area = heap.allocate(8_192);
  fc.assert(
    fc.property(fc.nat(1_200), fc.nat(40), fc.nat(40), fc.nat(255), (sizeBytes, from, to, seed) => {
      for (let i = 0; i < 8_192; i++) heap.bytes[area + i] = i * 7 + seed;
      const expected = heap.bytes.slice(area, area + 8_192);
      expected.copyWithin(4_096 + to, from, from + sizeBytes);
      kernel.copyBytes(area + 4_096 + to, area + from, sizeBytes);
      expect(Buffer.compare(heap.bytes.slice(area, area + 8_192), expected)).toBe(0);
    }),
    { numRuns: 300 },
  );
  heap.release(area);
});
