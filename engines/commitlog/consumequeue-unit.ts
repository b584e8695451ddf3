import { readInt64, writeInt64 } from "../codec/commitlog-message.js";

/**
 * One consumequeue unit: where a queue's Nth message lies in the commitlog.
 *
 *   at  bytes  field           type    unit and meaning
 *    0      8  physicalOffset  i64 BE  bytes from the start of the commitlog
 *    8      4  sizeBytes       i32 BE  whole record; 0 = never written
 *   12      8  tagsCode        i64 BE  Java hashCode of the tags, sign-extended; 0 = no tags
 *
 * Units have one size, so unit N starts at N * UNIT_SIZE_BYTES. No checksum: a unit is believed when the record it
 * points at says the same queue and queue offset. Where the head of a queue was never kept, its file begins with blanks:
 * offset 0, size PRE_BLANK_SIZE. Source: RocketMQ, store/ConsumeQueue.java.
 */
export interface ConsumequeueUnit {
  physicalOffset: number;
  sizeBytes: number;
  tagsCode: number;
}

export const UNIT_SIZE_BYTES = 8 + 4 + 8;
export const TAGS_CODE_AT = 8 + 4;
export const PRE_BLANK_SIZE = 0x7fff_ffff;

/** Writes `unit` at byte `at`; allocates nothing. */
export function encodeUnit(unit: ConsumequeueUnit, view: DataView, at: number): void {
  writeInt64(view, at, unit.physicalOffset);
  view.setInt32(at + 8, unit.sizeBytes);
  writeInt64(view, at + TAGS_CODE_AT, unit.tagsCode);
}

/** Fills `into` from byte `at`; the caller judges it. */
export function decodeUnit(view: DataView, at: number, into: ConsumequeueUnit): void {
  into.physicalOffset = readInt64(view, at);
  into.sizeBytes = view.getInt32(at + 8);
  into.tagsCode = readInt64(view, at + TAGS_CODE_AT);
}

/** Whether the unit points at a record: neither never written nor a blank before the queue's start. */
export function isData(unit: ConsumequeueUnit): boolean {
  return unit.physicalOffset >= 0 && unit.sizeBytes > 0 && unit.sizeBytes !== PRE_BLANK_SIZE;
}
