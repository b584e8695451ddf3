import { BLANK_SIZE_BYTES, encodeBlank, isBlank } from "../codec/commitlog-message.js";

/**
 * What stands in a commitlog file in the place of bytes that were lost with a part of the file, or with all of it, from
 * the first lost message to the file's end:
 *
 *    0  4  sizeBytes  i32 BE  what the file has left
 *    4  4  magic      i32 BE  0xCBD43194: so far RocketMQ's own blank, which every reader steps over to the next file
 *    8  8  mark               "lostpart" in ASCII: messages are missing here, so queue offsets may jump
 *
 * Zeros alone would end the log there for RocketMQ, which would cut off all later files.
 */
const MARK = new TextEncoder().encode("lostpart");
export const LOST_PART_HEADER_BYTES = BLANK_SIZE_BYTES + MARK.length;

/** The header for the `leftBytes` bytes that the file has left; without its mark where no message was lost. */
export function encodeLostPart(leftBytes: number): Uint8Array {
  const header = new Uint8Array(leftBytes < LOST_PART_HEADER_BYTES ? BLANK_SIZE_BYTES : LOST_PART_HEADER_BYTES);
  encodeBlank(header, 0, leftBytes);
  if (header.length > BLANK_SIZE_BYTES) header.set(MARK, BLANK_SIZE_BYTES);
  return header;
}

/** Whether the `availableBytes` bytes at `at`, where a file has `leftBytes` left, begin with such a header. */
export function isLostPart(bytes: Uint8Array, at: number, availableBytes: number, leftBytes: number): boolean {
  if (availableBytes < LOST_PART_HEADER_BYTES || !isBlank(bytes, at, leftBytes)) return false;
  return MARK.every((byte, i) => bytes[at + BLANK_SIZE_BYTES + i] === byte);
}
