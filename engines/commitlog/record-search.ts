import { MAGIC_V1, MAGIC_V2, PHYSICAL_OFFSET_AT } from "../codec/commitlog-message.js";
import type { Heap } from "../heap.js";
import { highHalf, lowHalf } from "./record-parser.js";

/** Larger than maxMessageSizeBytes may be set to: a directory may have been written with other settings. */
export const LARGEST_RECORD_BYTES = 80 << 20;
/** How much is searched at a time for a sound record behind a bad one. */
export const SEARCH_BYTES = 8 << 20;
/** What has to be in memory of a record to see that it may be one. */
export const CANDIDATE_BYTES = PHYSICAL_OFFSET_AT + 8;

const MAGIC_AT = 4;
const MAGIC_FIRST_BYTE = 0xda;

/**
 * The first heap address from `from` on where a record may begin: by its magic, and by the position in the log that it
 * names as its own, so that what a message's body holds is hardly ever taken for one.
 * @param end heap address behind the bytes to be searched
 * @param positionAtZero position in the log that the heap's address 0 would have
 */
export function findCandidate(heap: Heap, from: number, end: number, positionAtZero: number): number | undefined {
  const { view } = heap;
  const searched = Buffer.from(heap.bytes.buffer, 0, end); // its indexOf is the C library's, a Uint8Array's is not
  for (let at = from; ; at++) {
    const magicAt = searched.indexOf(MAGIC_FIRST_BYTE, at + MAGIC_AT);
    at = magicAt - MAGIC_AT;
    if (magicAt < 0 || at + CANDIDATE_BYTES > end) return undefined;
    if (!hasMagic(view, at)) continue;
    const position = at + positionAtZero;
    if (view.getInt32(at + PHYSICAL_OFFSET_AT) !== highHalf(position)) continue;
    if (view.getInt32(at + PHYSICAL_OFFSET_AT + 4) === lowHalf(position)) return at;
  }
}

/** How long the record at an address says it is; 0 if it does not look like one. */
export function claimedSize(heap: Heap, address: number, availableBytes: number): number {
  return availableBytes >= 8 && hasMagic(heap.view, address) ? heap.view.getInt32(address) : 0;
}

function hasMagic(view: DataView, address: number): boolean {
  const magic = view.getInt32(address + MAGIC_AT);
  return magic === MAGIC_V1 || magic === MAGIC_V2;
}
