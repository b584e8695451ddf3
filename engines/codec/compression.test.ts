import fc from "fast-check";
import snappy from "snappy";
import { describe, expect, it } from "vitest";
import { CorruptPayloadError } from "../errors.js";
import { heap } from "../heap.js";
import { InvariantError } from "../invariant.js";
import { COMPRESSION_LEVELS, type Codec, compress, compressionProviders, decompress } from "./compression.js";
import { xxh32 } from "./compression-xxhash.js";

const CODECS = ["none", "gzip", "zlib", "snappy", "lz4", "zstd"] as const;
const COMPRESSING = CODECS.filter((codec) => codec !== "none");
const MIB = 1 << 20;

/** Hex with spaces anywhere; `ff*12` is a byte 12 times. */
function hex(text: string): Buffer {
  return Buffer.concat(
    text
      .trim()
      .split(/\s+/)
      .map((word) => {
        const [bytes, times] = word.split("*");
        return Buffer.from(bytes!.repeat(Number(times ?? 1)), "hex");
      }),
  );
}

/** Of each 128 bytes `noiseBytes` do not fold, the rest do; 64 make something like a batch. */
function sample(sizeBytes: number, noiseBytes = 64, seed = 1): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  let state = seed;
  for (let i = 0; i < sizeBytes; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    bytes[i] = i % 128 < noiseBytes ? state >> 16 : i >> 7;
  }
  return bytes;
}

function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.byteLength).toBe(expected.byteLength);
  expect(Buffer.compare(actual, expected)).toBe(0);
}

describe("payloads of the originals", () => {
  const twoRecords = hex("1a000000046b310a68656c6c6f0020000a02010c776f726c64210202680276");
  const sixteens = Buffer.from("0123456789abcdef".repeat(6_250));

  it.each([
    ["gzip", "1f8b08000000000000ff9362606060c936e4ca48cdc9c9675060e06262e429cf2fca49516462ca602a03004c2710d81f000000"],
    [
      "snappy",
      "82534e41505059000000000100000001000000211f781a000000046b310a68656c6c6f0020000a02010c776f726c64210202680276",
    ],
    ["lz4", "04224d186040821f0000801a000000046b310a68656c6c6f0020000a02010c776f726c6421020268027600000000"],
    ["zstd", "28b52ffd0058f800001a000000046b310a68656c6c6f0020000a02010c776f726c64210202680276010000"],
  ] as const)("reads what Kafka's producer wrote with %s", (codec, payload) => {
    expectBytes(decompress(codec, hex(payload), 1_000), twoRecords);
  });

  it.each([
    [
      "linked blocks, content checksum",
      `04224d1844405e1b010000ff01303132333435363738396162636465661000 ff*256
       d8506263646566910000000f1000 ff*135 0f50626364656600000000fba551a1`,
    ],
    [
      "linked blocks with checksums, content size and checksum",
      `04224d185c40a086010000000000601b010000ff01303132333435363738396162636465661000 ff*256
       d850626364656653de5e9ca1000000ff01303132333435363738396162636465661000 ff*134
       fe50626364656675f8400800000000fba551a1`,
    ],
  ])("reads frames of the lz4 tool: %s", (_, payload) => {
    expectBytes(decompress("lz4", hex(payload), MIB), sixteens);
  });

  it.each([
    [
      "with content size and checksum",
      "28b52ffda4a0860100c50000803031323334353637383961626364656601001a0d279f4b80a31422",
    ],
    ["with neither", "28b52ffd0058c50000803031323334353637383961626364656601001a0d279f4b"],
  ])("reads frames of the zstd tool: %s", (_, payload) => {
    expectBytes(decompress("zstd", hex(payload), MIB), sixteens);
  });

  it("reads snappy in chunks larger than Kafka's, and in one block without framing as librdkafka writes it", () => {
    const bytes = sample(200_000);
    const chunks = [bytes.subarray(0, 150_000), bytes.subarray(150_000)].map((part) => {
      const block = snappy.compressSync(part);
      const length = Buffer.alloc(4);
      length.writeInt32BE(block.byteLength);
      return Buffer.concat([length, block]);
    });
    const framed = Buffer.concat([hex("82534e41505059000000000100000001"), ...chunks]);
    expectBytes(decompress("snappy", framed, 200_000), bytes);
    expectBytes(decompress("snappy", snappy.compressSync(bytes), 200_000), bytes);
  });

  it("reads frames that follow one another, with skippable ones between", () => {
    const skippable = hex("532a4d18 03000000 aabbcc");
    for (const codec of ["lz4", "zstd"] as const) {
      const one = compress(codec, Buffer.from("one, "));
      const two = compress(codec, Buffer.from("two"));
      const payload = Buffer.concat([skippable, one, skippable, two]);
      expect(Buffer.from(decompress(codec, payload, 8)).toString()).toBe("one, two");
      expect(() => decompress(codec, payload, 7)).toThrow(CorruptPayloadError);
    }
  });
});

describe("framing of what we write", () => {
  it("is Kafka's for lz4: its header, independent blocks of 64 KiB, raw where they do not shrink, an end mark", () => {
    const noise = sample(100_000, 128);
    const payload = Buffer.from(compress("lz4", noise));
    expect(payload.subarray(0, 7)).toEqual(hex("04224d18604082"));
    expect(payload.readUInt32LE(7)).toBe(0x8000_0000 + 65_536);
    expect(payload.readUInt32LE(7 + 4 + 65_536)).toBe(0x8000_0000 + 100_000 - 65_536);
    expect(payload.subarray(-4)).toEqual(Buffer.alloc(4));
    expect(payload.byteLength).toBe(7 + 4 + 4 + 100_000 + 4);
    const folded = Buffer.from(compress("lz4", Buffer.alloc(70_000)));
    const firstBlockBytes = folded.readUInt32LE(7);
    expect(firstBlockBytes).toBeLessThan(1_000);
    expect(folded.readUInt32LE(11 + firstBlockBytes)).toBe(folded.byteLength - 7 - 4 - firstBlockBytes - 4 - 4);
  });

  it("is snappy-java's for snappy: its header, then blocks of at most 32 KiB each", () => {
    const bytes = sample(70_000);
    const payload = Buffer.from(compress("snappy", bytes));
    expect(payload.subarray(0, 16)).toEqual(hex("82534e41505059000000000100000001"));
    const sizes: number[] = [];
    for (let at = 16; at < payload.byteLength; at += 4 + payload.readInt32BE(at)) {
      const block = payload.subarray(at + 4, at + 4 + payload.readInt32BE(at));
      sizes.push((snappy.uncompressSync(block) as Buffer).byteLength);
    }
    expect(sizes).toEqual([32_768, 32_768, 4_464]);
  });

  it("takes levels, and the original's default without one", () => {
    const words = Array.from({ length: 5_000 }, (_, i) => `offset ${(i * 7_919) % 1_000} of partition ${i % 17}; `);
    const bytes = Buffer.from(words.join(""));
    for (const codec of ["gzip", "zlib", "zstd"] as const) {
      const { lowest, highest, usual } = COMPRESSION_LEVELS[codec]!;
      const most = compress(codec, bytes, highest);
      expect(most.byteLength).toBeLessThan(compress(codec, bytes, lowest).byteLength);
      expectBytes(decompress(codec, most, MIB), bytes);
      expect(compress(codec, bytes)).toEqual(compress(codec, bytes, usual));
      expect(() => compress(codec, bytes, highest + 1)).toThrow(InvariantError);
    }
    for (const codec of ["snappy", "lz4"] as const) expect(() => compress(codec, bytes, 9)).toThrow(InvariantError);
  });
});

describe.each(CODECS)("%s", (codec) => {
  it("gives back what it was given", () => {
    const sizes = fc.oneof(
      fc.nat(300),
      fc.constantFrom(32_767, 32_768, 32_769, 65_535, 65_536, 65_537, 131_072, 200_000),
    );
    fc.assert(
      fc.property(sizes, fc.constantFrom(0, 64, 128), fc.nat(), (sizeBytes, noiseBytes, seed) => {
        const bytes = sample(sizeBytes, noiseBytes, seed);
        const payload = compress(codec, bytes);
        expectBytes(decompress(codec, payload, sizeBytes), bytes);
        if (sizeBytes > 0) expect(() => decompress(codec, payload, sizeBytes - 1)).toThrow(CorruptPayloadError);
      }),
      { numRuns: 40 },
    );
  });

  it("works on the heap's shared memory", () => {
    const bytes = heap.place(sample(40_000));
    const payload = heap.place(compress(codec, bytes));
    expectBytes(decompress(codec, payload, 40_000), bytes);
    heap.release(bytes.byteOffset);
    heap.release(payload.byteOffset);
  });
});

describe.each(COMPRESSING)("damaged %s", (codec) => {
  const bytes = sample(40_000);
  const payload = Buffer.from(compress(codec, bytes));

  it("is an error or a prefix when cut anywhere", () => {
    for (const small of [Buffer.from("hello hello hello hello"), bytes]) {
      const whole = Buffer.from(compress(codec, small));
      const step = Math.max(1, Math.floor(whole.byteLength / 200));
      for (let size = 0; size < whole.byteLength; size += step) {
        const result = attempt(() => decompress(codec, whole.subarray(0, size), 100_000));
        if (result !== null) expectBytes(result, small.subarray(0, result.byteLength));
        if (codec !== "snappy") expect(result).toBeNull(); // snappy's chunks say nothing of those that follow
      }
    }
  });

  it("is an error when anything follows", () => {
    for (const tail of [Buffer.alloc(1), Buffer.from("tail"), Buffer.alloc(40), payload.subarray(0, 30)]) {
      expect(() => decompress(codec, Buffer.concat([payload, tail]), 100_000)).toThrow(CorruptPayloadError);
    }
  });

  // Only gzip and zlib always carry a checksum; the others' is the batch's or the message's.
  const hasChecksum = codec === "gzip" || codec === "zlib";
  it(`is an error ${hasChecksum ? "or the right bytes" : "or within the limit"} with any bit flipped`, () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.nat(8 * 64 - 1), fc.nat(8 * payload.byteLength - 1)),
        fc.oneof(fc.constant(-1), fc.nat(8 * payload.byteLength - 1)),
        (bit, other) => {
          const damaged = Buffer.from(payload);
          damaged[bit >> 3]! ^= 1 << (bit & 7);
          if (other !== -1) damaged[other >> 3]! ^= 1 << (other & 7);
          const result = attempt(() => decompress(codec, damaged, 50_000));
          if (result === null) return;
          expect(result.byteLength).toBeLessThanOrEqual(50_000);
          if (hasChecksum) expectBytes(result, bytes);
        },
      ),
      { numRuns: 700 },
    );
  });

  it("is an error or within the limit when it is not of the codec at all", () => {
    fc.assert(
      fc.property(fc.nat(24), fc.uint8Array({ maxLength: 200 }), (kept, noise) => {
        const result = attempt(() => decompress(codec, Buffer.concat([payload.subarray(0, kept), noise]), 1_000));
        if (result !== null) expect(result.byteLength).toBeLessThanOrEqual(1_000);
      }),
      { numRuns: 700 },
    );
  });
});

describe("bombs", () => {
  const zeros = Buffer.alloc(16 * MIB);
  const zstdHeader = "28b52ffd";

  it.each([
    ...COMPRESSING.map((codec): [string, Codec, () => Uint8Array] => [codec, codec, () => compress(codec, zeros)]),
    ["snappy that claims 4 GiB", "snappy", () => hex("ffffffff0f 0000")],
    ["lz4 that claims 2^62 bytes", "lz4", () => lz4Frame("68 40 0000000000000040", "00000000")],
    // one literal, then matches of 255 bytes for each byte more; 5 literals end it
    ["lz4 of a 4 MiB block", "lz4", () => lz4Frame("60 70", "2f400000 1f000100 ff*16420 00 50 00*5 00000000")],
    ["zstd that claims 2^62 bytes", "zstd", () => hex(`${zstdHeader} e0 0000000000000040 010000`)],
    // 10,000 blocks of one byte repeated 128 Ki times, without and with a claim that would hide them
    ["zstd of repeated bytes", "zstd", () => hex(`${zstdHeader} 00 58 02001000*10000 030010 00`)],
    ["zstd that claims less than it has", "zstd", () => hex(`${zstdHeader} 80 58 00010000 02001000*10000 030010 00`)],
    ["zstd with a window of 3.75 TiB", "zstd", () => hex(`${zstdHeader} 00 ff 02001000*10000 030010 00`)],
  ] as [string, Codec, () => Uint8Array][])("%s is refused", (_, codec, make) => {
    const bomb = make();
    const before = process.memoryUsage().rss;
    expect(() => decompress(codec, bomb, MIB)).toThrow(CorruptPayloadError);
    expect(process.memoryUsage().rss - before).toBeLessThan(12 * MIB);
  });

  function lz4Frame(descriptor: string, rest: string): Buffer {
    const header = hex(descriptor);
    const checksum = (xxh32(header, 0, header.byteLength) >>> 8) & 0xff;
    return Buffer.concat([hex("04224d18"), header, Buffer.from([checksum]), hex(rest)]);
  }
});

it("computes XXH32 as its specification does", () => {
  const text = Buffer.from("Nobody inspects the spammish repetition");
  expect(xxh32(text, 0, 0)).toBe(0x02cc5d05);
  expect(xxh32(Buffer.from("a"), 0, 1)).toBe(0x550d7456);
  expect(xxh32(Buffer.from("abc"), 0, 3)).toBe(0x32d153ff);
  expect(xxh32(text, 0, text.byteLength)).toBe(0xe2293b2f);
  expect(xxh32(Buffer.concat([Buffer.alloc(3), text]), 3, 3 + text.byteLength)).toBe(0xe2293b2f);
});

it("names who computes each codec", () => {
  expect(Object.keys(compressionProviders())).toEqual(COMPRESSING);
  expect(compressionProviders().zstd).toMatch(/^(node:zlib|@bokuweb\/zstd-wasm)$/);
});

/** Null for a CorruptPayloadError; anything else that is thrown fails the test. */
function attempt(call: () => Uint8Array): Uint8Array | null {
  try {
    return call();
  } catch (error) {
    if (error instanceof CorruptPayloadError) return null;
    throw error;
  }
}
