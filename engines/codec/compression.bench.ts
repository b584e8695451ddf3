/**
 * What compressing and decompressing a batch costs, by codec, for exploring on a terminal; the sizes that come out are
 * printed first. Nothing here feeds a report or the gate (mitata drops the slowest and fastest samples).
 */
import { bench, group, run, summary } from "mitata";
import { compress, compressionProviders, decompress } from "./compression.js";

const CODECS = ["gzip", "zlib", "snappy", "lz4", "zstd"] as const;
const WORDS = "partition offset segment batch record leader epoch follower commitlog queue index".split(" ");

/** Text as logs have it, from a generator that repeats itself on each run. */
function logLike(sizeBytes: number): Uint8Array {
  const parts: string[] = [];
  let state = 1;
  for (let size = 0; size < sizeBytes; size += parts.at(-1)!.length) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    parts.push(`${WORDS[(state >> 16) % WORDS.length]}${state & 0xff} `);
  }
  return Buffer.from(parts.join("").slice(0, sizeBytes));
}

console.log(compressionProviders());
for (const sizeBytes of [1_024, 16_384, 1_048_576]) {
  const bytes = logLike(sizeBytes);
  const payloads = CODECS.map((codec) => ({ codec, payload: compress(codec, bytes) }));
  console.log(sizeBytes, Object.fromEntries(payloads.map(({ codec, payload }) => [codec, payload.byteLength])));
  group(`${sizeBytes / 1_024} KiB`, () => {
    summary(() => {
      for (const { codec } of payloads) bench(`compress, ${codec}`, () => compress(codec, bytes));
    });
    summary(() => {
      for (const { codec, payload } of payloads) {
        bench(`decompress, ${codec}`, () => decompress(codec, payload, sizeBytes));
      }
    });
  });
}

await run();
