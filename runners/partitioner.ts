/** Which partition a keyed message belongs to, and which key comes next. */
import type { Random } from "../results/random.js";

/** Exponent of the Zipf distribution: that of YCSB (Cooper et al., "Benchmarking cloud serving systems", 2010). */
const ZIPF_EXPONENT = 0.99;

/**
 * Place of the partition of a key, as Kafka's default partitioner chooses it: the lower 31 bits of murmur2 modulo the
 * number of partitions.
 */
export function partitionOfKey(key: Uint8Array, partitionCount: number): number {
  return (murmur2(key) & 0x7fff_ffff) % partitionCount;
}

/** MurmurHash2, 32 bits, with Kafka's seed (A. Appleby, public domain). */
export function murmur2(bytes: Uint8Array): number {
  const multiplier = 0x5bd1e995;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wholeWordsBytes = bytes.byteLength & ~3;
  let hash = 0x9747b28c ^ bytes.byteLength;
  for (let at = 0; at < wholeWordsBytes; at += 4) {
    let word = Math.imul(view.getInt32(at, true), multiplier);
    word ^= word >>> 24;
    hash = Math.imul(hash, multiplier) ^ Math.imul(word, multiplier);
  }
  const rest = bytes.byteLength - wholeWordsBytes;
  if (rest === 3) hash ^= bytes[wholeWordsBytes + 2]! << 16;
  if (rest >= 2) hash ^= bytes[wholeWordsBytes + 1]! << 8;
  if (rest >= 1) hash = Math.imul(hash ^ bytes[wholeWordsBytes]!, multiplier);
  hash = Math.imul(hash ^ (hash >>> 13), multiplier);
  return hash ^ (hash >>> 15);
}

/** Draws keys 0 … `keyCount` − 1, each as likely as the others. */
export function uniformKeys(keyCount: number, random: Random): () => number {
  return () => Math.floor(random() * keyCount);
}

/**
 * Draws keys by Zipf's law: key k has a weight of 1 / (k + 1)^0.99. Two random numbers a draw, whatever the number of keys:
 * the alias method (M. D. Vose, "A linear algorithm for generating random numbers with a given distribution", 1991).
 */
export function zipfKeys(keyCount: number, random: Random): () => number {
  const weights = Float64Array.from({ length: keyCount }, (_, key) => (key + 1) ** -ZIPF_EXPONENT);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const shares = weights.map((weight) => (weight / total) * keyCount);
  const alias = new Uint32Array(keyCount);
  const small: number[] = [];
  const large: number[] = [];
  for (const [key, share] of shares.entries()) (share < 1 ? small : large).push(key);
  while (small.length > 0 && large.length > 0) {
    const poor = small.pop()!;
    const rich = large.pop()!;
    alias[poor] = rich;
    shares[rich] = shares[rich]! + shares[poor]! - 1;
    (shares[rich] < 1 ? small : large).push(rich);
  }
  // What is left has a share of 1 but for rounding.
  for (const key of [...small, ...large]) shares[key] = 1;
  return () => {
    const key = Math.floor(random() * keyCount);
    return random() < shares[key]! ? key : alias[key]!;
  };
}
