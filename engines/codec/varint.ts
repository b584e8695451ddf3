/**
 * Zigzag varints as Kafka's records have them: the number folded so that small negatives stay small (0, -1, 1, -2 →
 * 0, 1, 2, 3), then base-128 groups, least significant first, the high bit set on all but the last.
 * Source: KIP-98 and Kafka's ByteUtils (`writeVarint`, `writeVarlong`).
 *
 * This is the plain form: the reference for the kernel's, and what parses record bodies off the hot path.
 */

export const MAX_VARINT_BYTES = 5;
export const MAX_VARLONG_BYTES = 10;

const TWO_32 = 4_294_967_296;

/** Where a reader stands; reused from read to read. */
export interface VarintCursor {
  /** Where the next read starts. */
  at: number;
}

/** Writes a 32-bit integer. @returns where the next byte goes */
export function writeVarint(value: number, target: Uint8Array, at: number): number {
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  while (rest > 0x7f) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

/** Bytes that `writeVarint` takes for a 32-bit integer. */
export function varintSizeBytes(value: number): number {
  const folded = ((value << 1) ^ (value >> 31)) >>> 0;
  return folded === 0 ? 1 : Math.ceil((32 - Math.clz32(folded)) / 7);
}

/** Writes a safe integer as a 64-bit one. @returns where the next byte goes */
export function writeVarlong(value: number, target: Uint8Array, at: number): number {
  // Folded as two 32-bit halves: ((high, low) << 1) ^ sign.
  const sign = value < 0 ? -1 : 0;
  const low = value >>> 0;
  const high = Math.floor(value / TWO_32) | 0;
  let foldedLow = ((low << 1) ^ sign) >>> 0;
  let foldedHigh = (((high << 1) | (low >>> 31)) ^ sign) >>> 0;
  while (foldedHigh !== 0 || foldedLow > 0x7f) {
    target[at++] = (foldedLow & 0x7f) | 0x80;
    foldedLow = ((foldedLow >>> 7) | (foldedHigh << 25)) >>> 0;
    foldedHigh >>>= 7;
  }
  target[at++] = foldedLow;
  return at;
}

/** Bytes that `writeVarlong` takes for a safe integer. */
export function varlongSizeBytes(value: number): number {
  let folded = value < 0 ? -2 * value - 1 : 2 * value;
  let sizeBytes = 1;
  while (folded >= 128) {
    folded = Math.floor(folded / 128);
    sizeBytes++;
  }
  return sizeBytes;
}

/**
 * Reads a 32-bit integer at `cursor.at`, moves the cursor behind it. NaN when it is cut off at `end` or too long: the
 * caller knows the file and position that its error has to name.
 */
export function readVarint(source: Uint8Array, cursor: VarintCursor, end: number): number {
  let folded = 0;
  for (let i = 0; i < MAX_VARINT_BYTES; i++) {
    if (cursor.at >= end) return Number.NaN;
    const byte = source[cursor.at++]!;
    if (i === MAX_VARINT_BYTES - 1 && byte > 0x0f) return Number.NaN;
    folded = (folded | ((byte & 0x7f) << (7 * i))) >>> 0;
    if (byte < 0x80) return (folded >>> 1) ^ -(folded & 1);
  }
  return Number.NaN;
}

/** Reads a 64-bit integer like `readVarint`; NaN also when it is not a safe integer. */
export function readVarlong(source: Uint8Array, cursor: VarintCursor, end: number): number {
  let low = 0; // 28 bits, so that sums stay exact
  let high = 0;
  for (let i = 0; i < MAX_VARLONG_BYTES; i++) {
    if (cursor.at >= end) return Number.NaN;
    const byte = source[cursor.at++]!;
    if (i < 4) low += (byte & 0x7f) * 2 ** (7 * i);
    else high += (byte & 0x7f) * 2 ** (7 * (i - 4));
    if (byte < 0x80) {
      // folded = high · 2²⁸ + low, and the value is folded / 2, or its complement when folded is odd
      const half = high * 2 ** 27 + Math.floor(low / 2);
      const value = low % 2 === 0 ? half : -half - 1;
      return Number.isSafeInteger(value) ? value : Number.NaN;
    }
  }
  return Number.NaN;
}
