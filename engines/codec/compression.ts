/**
 * Compression of record batches (Kafka: gzip, snappy, lz4, zstd) and of message bodies (RocketMQ: zlib, lz4, zstd), in
 * the framing that the originals read and write. Synchronous, as theirs is.
 *
 * A payload from a disk may be damaged or hostile: `decompress` gives the right bytes or a CorruptPayloadError, takes no
 * more memory than its limit allows, and treats bytes behind the payload's end as damage.
 *
 * µs to compress / decompress log-like text, the best of many runs on a busy 2-core VM, Node 20 (read the ratios):
 *
 *            1 KiB       16 KiB      256 KiB
 *   snappy   2.3 / 2.4   20 / 11     390 / 200
 *   lz4      2.7 / 2.4   19 / 10     410 / 140
 *   zstd     20 / 6.2    200 / 33    2 200 / 540    WebAssembly; native in Node 24: 24 / 17, 76 / 32, 770 / 450
 *   gzip     13 / 4.9    420 / 20    16 900 / 440
 *   zlib     13 / 4.9    120 / 18    5 400 / 310    level 5, RocketMQ's
 */

import zlib from "node:zlib";
import { CorruptPayloadError } from "../errors.js";
import { InvariantError, invariant } from "../invariant.js";
import { compressLz4, decompressLz4 } from "./compression-lz4.js";
import { compressSnappy, decompressSnappy } from "./compression-snappy.js";
import { compressZstd, decompressZstd, zstdProvider } from "./compression-zstd.js";

export type Codec = "none" | "gzip" | "zlib" | "snappy" | "lz4" | "zstd";

/** Neither a payload nor what it unfolds to is larger. The originals' limits are 1 MiB a batch and 4 MiB a message. */
export const MAX_PAYLOAD_SIZE_BYTES = 256 << 20;

/**
 * Levels that a codec can be told, and the one it takes untold: the default of the original that uses it (Kafka's gzip
 * level -1 is zlib's 6). Kafka's lz4 level 9, its default, is the fast compressor that we have; its other levels choose
 * the slow LZ4HC, which we have not.
 */
export const COMPRESSION_LEVELS: Readonly<
  Record<Codec, { readonly lowest: number; readonly highest: number; readonly usual: number } | null>
> = {
  none: null,
  gzip: { lowest: 1, highest: 9, usual: 6 },
  zlib: { lowest: 1, highest: 9, usual: 5 },
  snappy: null,
  lz4: null,
  zstd: { lowest: -131_072, highest: 22, usual: 3 },
};

/**
 * @param level within COMPRESSION_LEVELS, and absent for a codec that has none
 * @returns bytes of the caller's own, except for `none`, which returns `bytes` itself
 */
export function compress(codec: Codec, bytes: Uint8Array, level?: number): Uint8Array {
  const levels = COMPRESSION_LEVELS[codec];
  invariant(bytes.byteLength <= MAX_PAYLOAD_SIZE_BYTES, "what is compressed at once is at most 256 MiB");
  invariant(
    level === undefined || (levels !== null && level >= levels.lowest && level <= levels.highest),
    "a compression level is one that its codec has",
  );
  const chosen = level ?? levels?.usual ?? 0;
  switch (codec) {
    case "none":
      return bytes;
    case "gzip":
      return zlib.gzipSync(bytes, { level: chosen });
    case "zlib":
      return zlib.deflateSync(bytes, { level: chosen });
    case "snappy":
      return compressSnappy(bytes);
    case "lz4":
      return compressLz4(bytes);
    case "zstd":
      return compressZstd(bytes, chosen);
  }
}

/**
 * @param maxSizeBytes what the result may have at most
 * @returns bytes of the caller's own, except for `none`, which returns `bytes` itself
 * @throws CorruptPayloadError
 */
export function decompress(codec: Codec, bytes: Uint8Array, maxSizeBytes: number): Uint8Array {
  invariant(maxSizeBytes >= 0 && maxSizeBytes <= MAX_PAYLOAD_SIZE_BYTES, "a payload unfolds to at most 256 MiB");
  if (bytes.byteLength > MAX_PAYLOAD_SIZE_BYTES) throw new CorruptPayloadError(codec, "is larger than 256 MiB");
  switch (codec) {
    case "none":
      if (bytes.byteLength > maxSizeBytes) throw new CorruptPayloadError(codec, `has more than ${maxSizeBytes} bytes`);
      return bytes;
    case "gzip":
      return inflate(codec, zlib.gunzipSync, bytes, maxSizeBytes);
    case "zlib":
      return inflate(codec, zlib.inflateSync, bytes, maxSizeBytes);
    case "snappy":
      return decompressSnappy(bytes, maxSizeBytes);
    case "lz4":
      return decompressLz4(bytes, maxSizeBytes);
    case "zstd":
      return decompressZstd(bytes, maxSizeBytes);
  }
}

/** What computes each codec in this process, for the environment of a result. */
export function compressionProviders(): Record<Exclude<Codec, "none">, string> {
  return { gzip: "node:zlib", zlib: "node:zlib", snappy: "snappy", lz4: "lz4-napi", zstd: zstdProvider() };
}

/** With `info` set, the synchronous calls return the engine as well, which knows how much input it took. */
type InflateWithInfo = (
  bytes: Uint8Array,
  options: zlib.ZlibOptions,
) => { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } };

function inflate(codec: Codec, call: typeof zlib.gunzipSync, bytes: Uint8Array, maxSizeBytes: number): Uint8Array {
  const options: zlib.ZlibOptions = { info: true, maxOutputLength: Math.max(1, maxSizeBytes) };
  let outcome: ReturnType<InflateWithInfo>;
  try {
    outcome = (call as unknown as InflateWithInfo)(bytes, options);
  } catch (error) {
    if (error instanceof InvariantError) throw error;
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(codec, maxSizeBytes, error);
    throw new CorruptPayloadError(codec, `is damaged (${(error as Error).message})`, { cause: error });
  }
  if (outcome.buffer.byteLength > maxSizeBytes) throw tooLarge(codec, maxSizeBytes);
  if (outcome.engine.bytesWritten !== bytes.byteLength) {
    throw new CorruptPayloadError(codec, `has bytes behind its end, at ${outcome.engine.bytesWritten}`);
  }
  return outcome.buffer;
}

function tooLarge(codec: Codec, maxSizeBytes: number, cause?: unknown): CorruptPayloadError {
  return new CorruptPayloadError(codec, `unfolds to more than ${maxSizeBytes} bytes`, { cause });
}
