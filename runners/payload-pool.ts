import { Message } from "../engines/engine.js";
import { heap } from "../engines/registry.js";
import { seededRandom } from "../results/random.js";

/**
 * The distinct payloads that a trial sends over and over. They lie in the engines' heap and fit together into about
 * 256 KiB (three payloads at least), so that reading them costs a cache hit and not memory bandwidth. Their number is a
 * prime, so that no structure of power-of-two size (batch, page, segment) repeats in step with them.
 */
export interface PayloadPool {
  readonly messages: readonly Message[];
}

const POOL_SIZE_BYTES = 256 * 1024;
/** Descending; 251 is the largest prime that one byte can number. */
const SIZES = [251, 127, 61, 31, 17, 7, 3];

/**
 * Which payload is message `offset` of the partition at place `partition` (0-based, in the order of creation). Sender and
 * verifier use the same rule, so every byte can be checked without stamping messages.
 */
export function payloadIndex(partition: number, offset: number, poolSize: number): number {
  return (partition + offset) % poolSize;
}

/**
 * `compressibleFraction` of each payload's bytes are one repeated byte, the rest is random; its first byte is its place
 * in the pool, so that no two are equal.
 */
export function createPayloadPool(options: {
  sizeBytes: number;
  compressibleFraction: number;
  seed: number;
}): PayloadPool {
  const { sizeBytes, compressibleFraction, seed } = options;
  const poolSize = SIZES.find((size) => size * sizeBytes <= POOL_SIZE_BYTES) ?? SIZES.at(-1)!;
  const random = seededRandom(seed);
  const randomBytes = Math.round(sizeBytes * (1 - compressibleFraction));
  const messages = Array.from({ length: poolSize }, (_, index) => {
    const payload = new Uint8Array(sizeBytes).fill(index);
    for (let at = 1; at < randomBytes; at++) payload[at] = Math.floor(random() * 256);
    return new Message(heap, heap.place(payload));
  });
  return { messages };
}
