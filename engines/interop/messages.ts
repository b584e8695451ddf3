import { createCipheriv } from "node:crypto";

/** One message as either side writes it and both must read it. */
export interface InteropMessage {
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [key: string, value: Buffer | null])[];
}

/** The instant that the golden vectors of both formats use. */
export const START_MS = 1_700_000_000_000;

export function message(fields: Partial<InteropMessage> & { at?: number } = {}): InteropMessage {
  const { at = 0, ...rest } = fields;
  return { timestampMs: START_MS + at, key: null, value: Buffer.from("value"), headers: [], ...rest };
}

/** Keys and values that are null, empty, short and longer than a one-byte varint can say, in all combinations. */
export function keysAndValues(): InteropMessage[] {
  const parts = [null, Buffer.alloc(0), Buffer.from("é€😀"), Buffer.from([0x00, 0xff, 0x01, 0x02]), noise(1, 300)];
  return parts.flatMap((key, i) => parts.map((value, j) => message({ at: i * parts.length + j, key, value })));
}

export function headers(): InteropMessage[] {
  const lists: InteropMessage["headers"][] = [
    [["h", Buffer.from("v")]],
    [["null", null]],
    [["empty", Buffer.alloc(0)]],
    [["", Buffer.from("no name")]],
    [["ключ-😀", noise(2, 200)]],
    [
      ["twice", Buffer.from("1")],
      ["twice", Buffer.from("2")],
    ],
    Array.from({ length: 100 }, (_, i) => [`header-${i}`, i % 3 === 0 ? null : noise(i, i)] as const),
  ];
  return lists.map((list, i) => message({ at: i, key: Buffer.from(`k${i}`), headers: list }));
}

/** Timestamps that go back and forth by more than an int32 of milliseconds, and the smallest there is. */
export function outOfOrder(): InteropMessage[] {
  const offsetsMs = [0, 5, 3, 1_000, 999, -7_000_000_000, 60_000, 60_000, 59_999, -START_MS, 61_000, 9_000_000_000, 1];
  return offsetsMs.map((at, i) => message({ at, key: Buffer.from(`k${i}`), value: Buffer.from(`${at}`) }));
}

/** `count` messages of `sizeBytes`, half of each incompressible, a millisecond apart; every fifth is a tombstone. */
export function series(count: number, sizeBytes: number, seed = 0): InteropMessage[] {
  return Array.from({ length: count }, (_, i) =>
    message({
      at: seed * 1_000 + i,
      key: Buffer.from(`key-${seed}-${i % 7}`),
      value:
        i % 5 === 4 ? null : Buffer.concat([noise(seed * count + i, sizeBytes >> 1), Buffer.alloc(sizeBytes >> 1, i)]),
    }),
  );
}

/** Bytes that no codec shrinks, the same for the same seed. */
export function noise(seed: number, sizeBytes: number): Buffer {
  const counter = Buffer.alloc(16);
  counter.writeUInt32BE(seed);
  return createCipheriv("aes-128-ctr", Buffer.alloc(16, 0x5a), counter).update(Buffer.alloc(sizeBytes));
}

export function toHex(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString("hex");
}
