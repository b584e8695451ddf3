import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { heap } from "../engines/registry.js";
import { seededRandom, shuffle } from "../results/random.js";
import type { Configuration } from "../results/schema.js";

/**
 * The distinct values that a trial sends over and over. They lie in the engines' heap and fit together into about 256 KiB
 * (three values at least), so that reading them costs a cache hit and not memory bandwidth. Their number is a prime, so
 * that no structure of power-of-two size (batch, page, segment) repeats in step with them.
 */
const POOL_SIZE_BYTES = 256 * 1024;
/** Descending; 251 is the largest prime that one byte can number. */
const SIZES = [251, 127, 61, 31, 17, 7, 3];
/** Of a user's file: all of it lies in the heap. */
const FILE_LIMIT_BYTES = 64 * 1024 * 1024;
/** An exponential size beyond so many means comes once in three million messages. */
const LONGEST_TAIL = 16;

/** A file of payloads cannot be used; one sentence. */
export class PayloadFileError extends Error {
  override name = "PayloadFileError";
}

/** Which value is message `offset` of the partition at place `partition` (0-based, in the order of creation). */
export function payloadIndex(partition: number, offset: number, poolSize: number): number {
  return (partition + offset) % poolSize;
}

/**
 * `compressibleFraction` of each value's bytes are one repeated byte, the rest is random; its first byte is its place in
 * the pool, so that no two are equal. Their sizes follow the distribution as evenly as so few can: one from the middle of
 * each of as many equal parts of it, in seeded order.
 * @throws PayloadFileError
 */
export function createPayloadPool(
  messages: Pick<Configuration["messages"], "sizeBytes" | "sizes" | "compressibleFraction" | "payloadFile">,
  seed: number,
): Uint8Array[] {
  const { sizeBytes, sizes, compressibleFraction, payloadFile } = messages;
  if (payloadFile !== null)
    return readPayloadFile(payloadFile.path, payloadFile.sha256).lines.map((line) => heap.place(line));
  const poolSize = SIZES.find((size) => size * sizeBytes <= POOL_SIZE_BYTES) ?? SIZES.at(-1)!;
  const random = seededRandom(seed);
  const drawn = shuffle(
    Array.from({ length: poolSize }, (_, index) => sizeAt(sizes, sizeBytes, (index + 0.5) / poolSize)),
    seededRandom(seed),
  );
  return drawn.map((size, index) => {
    const value = new Uint8Array(size).fill(index);
    const randomBytes = Math.round(size * (1 - compressibleFraction));
    for (let at = 1; at < randomBytes; at++) value[at] = Math.floor(random() * 256);
    return heap.place(value);
  });
}

/** The size below which a share of `quantile` of the messages lies. */
function sizeAt(sizes: Configuration["messages"]["sizes"], meanBytes: number, quantile: number): number {
  switch (sizes) {
    case "fixed":
      return meanBytes;
    case "uniform":
      return Math.max(1, Math.round(2 * meanBytes * quantile));
    case "exponential":
      return Math.max(1, Math.round(Math.min(LONGEST_TAIL, -Math.log(1 - quantile)) * meanBytes));
  }
}

/** What a run's configuration says of a file of payloads, and the mean size of its lines. @throws PayloadFileError */
export function describePayloadFile(path: string): {
  payloadFile: NonNullable<Configuration["messages"]["payloadFile"]>;
  sizeBytes: number;
} {
  const { lines, sha256 } = readPayloadFile(path, null);
  const meanBytes = lines.reduce((sum, line) => sum + line.byteLength, 0) / lines.length;
  return { payloadFile: { path, sha256, lineCount: lines.length }, sizeBytes: Math.max(1, Math.round(meanBytes)) };
}

/** The lines that are not empty, without their ends. @param expectedSha256 of the file as it was when the run was planned */
function readPayloadFile(path: string, expectedSha256: string | null): { lines: Uint8Array[]; sha256: string } {
  let bytes: Buffer;
  try {
    const stat = statSync(path);
    // Another kind could be without an end, or be empty the second time.
    if (!stat.isFile()) throw new PayloadFileError(`The payload file ${path} is no regular file; give one with lines.`);
    if (stat.size > FILE_LIMIT_BYTES) throw new PayloadFileError(tooLarge(path));
    bytes = readFileSync(path);
  } catch (cause) {
    if (cause instanceof PayloadFileError) throw cause;
    throw new PayloadFileError(`The payload file ${path} cannot be read (${(cause as Error).message}).`, { cause });
  }
  const sha256 = hashOf(bytes);
  if (expectedSha256 !== null && sha256 !== expectedSha256) {
    throw new PayloadFileError(`The payload file ${path} has changed since the run was planned; start another run.`);
  }
  if (bytes.byteLength > FILE_LIMIT_BYTES) throw new PayloadFileError(tooLarge(path));
  const lines: Uint8Array[] = [];
  for (let start = 0; start < bytes.byteLength; ) {
    const newline = bytes.indexOf(0x0a, start);
    const next = newline === -1 ? bytes.byteLength : newline;
    const end = next > start && bytes[next - 1] === 0x0d ? next - 1 : next;
    if (end > start) lines.push(bytes.subarray(start, end));
    start = next + 1;
  }
  if (lines.length === 0) throw new PayloadFileError(`The payload file ${path} holds no line that is not empty.`);
  return { lines, sha256 };
}

function tooLarge(path: string): string {
  return `The payload file ${path} has more than ${FILE_LIMIT_BYTES / 2 ** 20} MiB; give a sample of its lines.`;
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
