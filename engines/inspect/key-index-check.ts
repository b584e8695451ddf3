import { KEYS_PROPERTY, parseProperties, readInt64 } from "../codec/commitlog-message.js";
import { indexHash } from "../commitlog/key-index.js";
import { OUTCOME_TEXTS, ParseOutcome } from "../commitlog/record-parser.js";
import type { StorageFile } from "../storage/storage.js";
import { isInDamage } from "./commitlog-walk.js";
import type { LogExtent } from "./consumequeue-check.js";
import { blame, type FileReport } from "./report.js";
import { counted, Entries } from "./source.js";

/**
 * RocketMQ's hash index, one file of `index/`, big-endian:
 *
 *   40 bytes          header: begin and end time (i64 ms), begin and end position in the log (i64), slots in use (i32),
 *                     number of the next item (i32; the first item is 1, 0 means none)
 *   4 each            slots: number of the newest item whose hash falls into the slot
 *   20 each           items: hash of "topic#key" (i32), position in the log (i64), seconds since the begin time (i32),
 *                     number of the item before in the same slot (i32)
 *
 * The file does not say how many slots it has. Source: RocketMQ, store/index/IndexFile.java, IndexHeader.java.
 */
const HEADER_SIZE_BYTES = 8 + 8 + 8 + 8 + 4 + 4;
const SLOT_SIZE_BYTES = 4;
const ITEM_SIZE_BYTES = 4 + 8 + 4 + 4;
const BEGIN_POSITION_AT = 16;
const END_POSITION_AT = 24;
const COUNT_AT = 36;
const UNIQUE_KEY_PROPERTY = "UNIQ_KEY";
/** RocketMQ's defaults, 5 000 000 slots and 20 000 000 items, and whoever keeps their ratio. */
const ITEMS_PER_SLOT = 4;

/**
 * Holds every item against the message it names, and against the chain it belongs to.
 * @param isSettled the store was closed cleanly; else headers and slots may lag, which follow from the items
 */
export function checkKeyIndex(report: FileReport, file: StorageFile, log: LogExtent, isSettled: boolean): void {
  if (report.sizeBytes < HEADER_SIZE_BYTES) {
    blame(
      report,
      0,
      "size",
      `it is ${counted(report.sizeBytes, "byte")} long, and its header alone takes ${HEADER_SIZE_BYTES}.`,
    );
    return;
  }
  const header = new DataView(new ArrayBuffer(HEADER_SIZE_BYTES));
  file.read(new Uint8Array(header.buffer), 0, HEADER_SIZE_BYTES, 0);
  const itemCount = Math.max(0, header.getInt32(COUNT_AT) - 1);
  report.entryCount = itemCount;
  const slotCount = (report.sizeBytes - HEADER_SIZE_BYTES) / (SLOT_SIZE_BYTES + ITEMS_PER_SLOT * ITEM_SIZE_BYTES);
  const itemsAt = HEADER_SIZE_BYTES + slotCount * SLOT_SIZE_BYTES;
  const items = new Entries(file, ITEM_SIZE_BYTES, itemsAt, report.sizeBytes);
  if (!Number.isInteger(slotCount) || slotCount === 0 || isElsewhere(items, header, itemCount)) {
    report.notes.push(
      "Its size does not tell how many slots it has (RocketMQ's has one to four items); items were not looked at.",
    );
    return;
  }
  if (itemCount >= items.count) {
    blame(report, COUNT_AT, "size", `it announces ${counted(itemCount, "item")} and has room for ${items.count - 1}.`);
    return;
  }
  const newest = new Int32Array(slotCount);
  const endPosition = readInt64(header, END_POSITION_AT);
  for (let item = 1; item <= itemCount; item++) {
    const at = items.seek(item);
    const hash = items.view.getInt32(at);
    const position = readInt64(items.view, at + 4);
    const before = items.view.getInt32(at + 16);
    const what =
      hash < 0
        ? `has the hash ${hash}, and none is below 0.`
        : before !== newest[hash % slotCount]
          ? `names item ${before} as the one before it in its slot, which is ${newest[hash % slotCount]}.`
          : judgePosition(position, hash, endPosition, log, isSettled);
    if (what !== undefined) {
      blame(report, items.positionOf(item), "target", `item ${item} ${what}`);
      return;
    }
    newest[hash % slotCount] = item;
  }
  const slots = new Entries(file, SLOT_SIZE_BYTES, HEADER_SIZE_BYTES, itemsAt);
  for (let slot = 0; slot < slotCount && isSettled; slot++) {
    const item = slots.view.getInt32(slots.seek(slot));
    // What a crash left of later items counts as none.
    if (item === newest[slot] || (newest[slot] === 0 && item > itemCount)) continue;
    blame(
      report,
      slots.positionOf(slot),
      "target",
      `slot ${slot} names item ${item} as its newest, which is ${newest[slot]}.`,
    );
    return;
  }
}

/** Neither the first item nor the last names what the header says of it: another size happens to divide like RocketMQ's. */
function isElsewhere(items: Entries, header: DataView, itemCount: number): boolean {
  if (itemCount < 2 || itemCount >= items.count) return false;
  const positionOf = (item: number) => readInt64(items.view, items.seek(item) + 4);
  return (
    positionOf(1) !== readInt64(header, BEGIN_POSITION_AT) &&
    positionOf(itemCount) !== readInt64(header, END_POSITION_AT)
  );
}

function judgePosition(
  position: number,
  hash: number,
  endPosition: number,
  { reader, startOffset, endOffset, damaged }: LogExtent,
  isSettled: boolean,
): string | undefined {
  if (!Number.isSafeInteger(position) || position < 0) return `names byte ${position} of the log, which cannot be.`;
  if (position > endPosition && isSettled)
    return `names byte ${position} of the log, and the header ends at ${endPosition}.`;
  if (position < startOffset || isInDamage(damaged, position)) return undefined;
  const file = reader.fileAt(position);
  if (file === undefined || position >= endOffset) {
    return !isSettled ? undefined : `names byte ${position} of the log, which ends at byte ${reader.endOf(endOffset)}.`;
  }
  const outcome = reader.parse(file, position);
  if (outcome === ParseOutcome.BAD_BODY_CRC) return undefined;
  if (outcome !== ParseOutcome.OK) {
    return `names byte ${position} of the log, where there is no message but ${OUTCOME_TEXTS[outcome]}.`;
  }
  const topic = reader.parser.topic();
  const hasKey = parseProperties(reader.parser.properties())
    .filter(({ name }) => name === UNIQUE_KEY_PROPERTY || name === KEYS_PROPERTY)
    .flatMap(({ name, value }) => (name === KEYS_PROPERTY ? value.split(" ") : [value]))
    .some((key) => indexHash(topic, key) === hash);
  return hasKey ? undefined : `has the hash ${hash}, which no key of the message at byte ${position} of the log has.`;
}
