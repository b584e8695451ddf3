// RocketMQ's commitlog record: encoded in place, parsed, and dispatched into consumequeue units. The layout is documented
// in codec/commitlog-message.ts, which also holds the plain reference that the tests compare with, byte for byte.
//
// A queue is described by a block of 320 bytes (little-endian):
//
//    0  i64  dispatchedOffset  queue offset of the next record to be dispatched
//    8  u32  unitsAddress      buffer of units not yet written to the queue's file
//   12  u32  unitCount
//   16  u32  unitCapacity      0 until JavaScript gives the queue a buffer
//   20  u32  handle
//   24  u32  hash              of topic and queueId
//   28  i32  queueId
//   32  u32  topicSizeBytes
//   36  u32  isListed          1 = stands in the list of queues with units
//   40  u32  isV2              1 = the topic needs message version 2
//   48  ...  topic             at most 255 bytes, zeros behind
//
// What all records of an engine have in common (`origin`), 80 bytes (little-endian, hosts as in the record):
//
//    0  i32  sysFlag
//    4  u32  size of the born host with its port, 8 or 20;    8  20 bytes  the host
//   28  u32  size of the store host with its port, 8 or 20;  32  20 bytes  the host
//   52  u32  propertiesAddress  where the properties of the record to be encoded stand
//   56  f64  storeTimestamp     ms
//   64  u32  reservedSizeBytes  of properties to leave free at the end (20 for a CRC property)

import { crc32 } from "./checksum";
import { copyBytes } from "./copy";

const MAGIC_V1: u32 = 0xdaa320a7;
const MAGIC_V2: u32 = 0xdaa320ab;
const BLANK_MAGIC: u32 = 0xcbd43194;
const FIXED_SIZE_BYTES: usize = 91;

const BORN_HOST_V6: i32 = 0x10;
const STORE_HOST_V6: i32 = 0x20;
const INNER_BATCH: i32 = 0x80;
const TRANSACTION_MASK: i32 = 0xc;
const TRANSACTION_PREPARED: i32 = 0x4;
const TRANSACTION_COMMIT: i32 = 0x8;

const DISPATCHED_OFFSET: usize = 0;
const UNITS_ADDRESS: usize = 8;
const UNIT_COUNT: usize = 12;
const UNIT_CAPACITY: usize = 16;
const HASH: usize = 24;
const QUEUE_ID: usize = 28;
const TOPIC_SIZE: usize = 32;
const IS_LISTED: usize = 36;
const IS_V2: usize = 40;
const TOPIC: usize = 48;

const BORN_HOST: usize = 4;
const STORE_HOST: usize = 28;
const PROPERTIES_ADDRESS: usize = 52;
const STORE_TIMESTAMP: usize = 56;
const RESERVED_SIZE: usize = 64;

const UNIT_SIZE_BYTES: usize = 20;

const NAME_END: u32 = 0x01;
const PAIR_END: u32 = 0x02;
/** `KEYS` and `TAGS` as little-endian words. */
const KEYS: u32 = 0x5359454b;
const TAGS: u32 = 0x53474154;
/** `UNIQ_KEY` as a little-endian word. */
const UNIQ_KEY: u64 = 0x5945_4b5f_5149_4e55;
/** `__CRC32#` as a little-endian word. */
const CRC_PROPERTY_NAME: u64 = 0x2332_3343_5243_5f5f;
const CRC_PROPERTY_SIZE_BYTES: usize = 20;

const MAX_SAFE_INTEGER: i64 = 9_007_199_254_740_991;

/**
 * Writes one record at `target`. Its position comes in two 32-bit halves: V8 puts a larger number on its heap for the call.
 * @param bodyCrc CRC-32 of the body without its top bit, or -1 to have it computed here
 * @returns size of the record in bytes
 */
export function encodeCommitlogMessage(
  target: usize,
  queue: usize,
  origin: usize,
  bodyAddress: usize,
  bodySizeBytes: i32,
  bodyCrc: i32,
  propertiesSizeBytes: i32,
  queueOffset: f64,
  positionHigh: u32,
  positionLow: u32,
  bornTimestampMs: f64,
): i32 {
  const isV2 = load<u32>(queue, IS_V2) != 0;
  const topicSizeBytes = <usize>load<u32>(queue, TOPIC_SIZE);
  if (bodyCrc < 0) bodyCrc = <i32>(crc32(bodyAddress, bodySizeBytes, 0) & 0x7fffffff);

  store<u32>(target, bswap<u32>(isV2 ? MAGIC_V2 : MAGIC_V1), 4);
  store<i32>(target, bswap<i32>(bodyCrc), 8);
  store<i32>(target, bswap<i32>(load<i32>(queue, QUEUE_ID)), 12);
  store<i32>(target, 0, 16);
  store<i64>(target, bswap<i64>(<i64>queueOffset), 20);
  store<u32>(target, bswap<u32>(positionHigh), 28);
  store<u32>(target, bswap<u32>(positionLow), 32);
  store<i32>(target, bswap<i32>(load<i32>(origin)), 36);
  store<i64>(target, bswap<i64>(<i64>bornTimestampMs), 40);
  let at = target + 48;
  at = writeHost(at, origin + BORN_HOST);
  store<i64>(at, bswap<i64>(<i64>load<f64>(origin, STORE_TIMESTAMP)));
  at = writeHost(at + 8, origin + STORE_HOST);
  store<i32>(at, 0);
  store<i64>(at, 0, 4);
  store<i32>(at, bswap<i32>(bodySizeBytes), 12);
  at += 16;
  copyBytes(at, bodyAddress, bodySizeBytes);
  at += bodySizeBytes;
  if (isV2) {
    store<u16>(at, bswap<u16>(<u16>topicSizeBytes));
    at += 2;
  } else {
    store<u8>(at, <u8>topicSizeBytes);
    at += 1;
  }
  copyBytes(at, queue + TOPIC, topicSizeBytes);
  at += topicSizeBytes;
  const reservedSizeBytes = load<i32>(origin, RESERVED_SIZE);
  store<u16>(at, bswap<u16>(<u16>(propertiesSizeBytes + reservedSizeBytes)));
  at += 2;
  if (propertiesSizeBytes != 0) copyBytes(at, load<u32>(origin, PROPERTIES_ADDRESS), propertiesSizeBytes);
  const sizeBytes = <i32>(at + propertiesSizeBytes + reservedSizeBytes - target);
  store<i32>(target, bswap<i32>(sizeBytes));
  return sizeBytes;
}

// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
function writeHost(at: usize, host: usize): usize {
  store<u64>(at, load<u64>(host, 4));
  if (load<u32>(host) == 8) return at + 8;
  store<u64>(at, load<u64>(host, 12), 8);
  store<u32>(at, load<u32>(host, 20), 16);
  return at + 20;
}

/** Fills the last 20 bytes of a record with `__CRC32#` and ten decimal digits of `crc`, least significant first. */
export function writeCommitlogCrcProperty(record: usize, sizeBytes: usize, crc: u32): void {
  const at = record + sizeBytes - CRC_PROPERTY_SIZE_BYTES;
  store<u64>(at, CRC_PROPERTY_NAME);
  store<u8>(at, <u8>NAME_END, 8);
  let rest = crc & 0x7fffffff;
  for (let digit: usize = 0; digit < 10; digit++) {
    store<u8>(at + 9 + digit, <u8>(0x30 + (rest % 10)));
    rest /= 10;
  }
  store<u8>(at, <u8>PAIR_END, 19);
}

/**
 * Writes the property `KEYS` with a key's bytes.
 * @returns its size; -1: the key holds 0x01 or 0x02; -2: written, but the key is not ASCII, so check that it is UTF-8
 */
export function writeCommitlogKeys(target: usize, keyAddress: usize, keySizeBytes: i32): i32 {
  store<u32>(target, KEYS);
  store<u8>(target, <u8>NAME_END, 4);
  let at = target + 5;
  let seen: u32 = 0;
  for (let i = 0; i < keySizeBytes; i++) {
    const byte = <u32>load<u8>(keyAddress + i);
    if (byte == NAME_END || byte == PAIR_END) return -1;
    seen |= byte;
    store<u8>(at + i, <u8>byte);
  }
  store<u8>(at + keySizeBytes, <u8>PAIR_END);
  return seen & 0x80 ? -2 : 5 + keySizeBytes + 1;
}

/**
 * Copies whole records, encoded back to back, to their place in the log and gives them its positions and time.
 * @returns how many records there were
 */
export function placeCommitlogBatch(
  target: usize,
  source: usize,
  sizeBytes: usize,
  positionHigh: u32,
  positionLow: u32,
  storeTimestampMs: f64,
): i32 {
  copyBytes(target, source, sizeBytes);
  let position = positionOf(positionHigh, positionLow);
  const storeTimestamp = bswap<i64>(<i64>storeTimestampMs);
  let at = target;
  const end = target + sizeBytes;
  let count = 0;
  while (at < end) {
    const recordSize = bswap<u32>(load<u32>(at));
    store<i64>(at, bswap<i64>(position), 28);
    const bornHostV6 = bswap<i32>(load<i32>(at, 36)) & BORN_HOST_V6;
    store<i64>(at + (bornHostV6 ? 12 : 0), storeTimestamp, 56);
    position += recordSize;
    at += recordSize;
    count++;
  }
  return count;
}

// What parseCommitlogMessage writes into its 96-byte result (little-endian).
const RESULT_SIZE: usize = 0;
const RESULT_QUEUE: usize = 4;
const RESULT_QUEUE_ID: usize = 8;
const RESULT_SYS_FLAG: usize = 12;
const RESULT_TOPIC: usize = 16;
const RESULT_TOPIC_SIZE: usize = 20;
const RESULT_BODY: usize = 24;
const RESULT_BODY_SIZE: usize = 28;
const RESULT_PROPERTIES: usize = 32;
const RESULT_PROPERTIES_SIZE: usize = 36;
const RESULT_KEYS: usize = 40;
const RESULT_KEYS_SIZE: usize = 44;
const RESULT_OTHER_PROPERTIES: usize = 48;
const RESULT_BODY_CRC: usize = 52;
const RESULT_PASSED: usize = 56;
/** Set by JavaScript: 1 = a record without the CRC property is refused. */
const RESULT_NEEDS_CRC: usize = 60;
const RESULT_QUEUE_OFFSET: usize = 64;
const RESULT_BORN_TIMESTAMP: usize = 72;
const RESULT_STORE_TIMESTAMP: usize = 80;
const RESULT_PASSED_TIMESTAMP: usize = 88;

// Outcomes of parsing; JavaScript has the sentences to them (commitlog/record-parser.ts).
const OK = 0;
const BLANK = 1;
const TOO_SHORT = 2;
const BAD_MAGIC = 3;
const BAD_SIZE = 4;
const BAD_BODY_SIZE = 5;
const BAD_TOPIC_SIZE = 6;
const BAD_PROPERTIES_SIZE = 7;
const BAD_BODY_CRC = 8;
const BAD_PHYSICAL_OFFSET = 9;
const BAD_QUEUE = 10;
const BAD_TIMESTAMP = 11;
const BAD_PROPERTY_CRC = 12;

/**
 * Passes over sound records from `address` on, up to one that is not, or that JavaScript has to look at: its body is too
 * large for a CRC here, its queue unknown, it is an inner batch, or it is older than the one before. That one is parsed and not passed over.
 * Adds to the result: bytes passed over, and the store time of the last record passed over.
 * @param storeTimestampMs of the record before the first
 * @returns the outcome for the record it stopped at; TOO_SHORT, with nothing left, at the end
 */
export function passCommitlogMessages(
  address: usize,
  available: i32,
  positionHigh: u32,
  positionLow: u32,
  crcLimitBytes: i32,
  table: usize,
  tableMask: u32,
  storeTimestampMs: f64,
  result: usize,
): i32 {
  let passed: i32 = 0;
  let outcome = TOO_SHORT;
  const position = positionOf(positionHigh, positionLow);
  while (passed < available) {
    const at = position + passed;
    outcome = parse(address + passed, available - passed, at, crcLimitBytes, table, tableMask, result);
    if (
      outcome != OK ||
      load<u32>(result, RESULT_QUEUE) == 0 ||
      (crcLimitBytes >= 0 && load<i32>(result, RESULT_BODY_SIZE) > crcLimitBytes) ||
      (load<i32>(result, RESULT_SYS_FLAG) & INNER_BATCH) != 0 ||
      load<f64>(result, RESULT_STORE_TIMESTAMP) < storeTimestampMs
    ) {
      break;
    }
    storeTimestampMs = load<f64>(result, RESULT_STORE_TIMESTAMP);
    passed += load<i32>(result, RESULT_SIZE);
    outcome = TOO_SHORT;
  }
  store<i32>(result, passed, RESULT_PASSED);
  store<f64>(result, storeTimestampMs, RESULT_PASSED_TIMESTAMP);
  return outcome;
}

/**
 * Checks the record at `address`, which stands at that position of the log (in two 32-bit halves) and has `available`
 * bytes up to the end of its file (or of what is readable), and says where its parts lie.
 * @param crcLimitBytes bodies up to this size have their CRC checked here, larger ones by the caller; -1 = none by anybody
 * @param table hash table of queues (0 = none), `tableMask` its size in entries minus 1
 * @returns an outcome
 */
export function parseCommitlogMessage(
  address: usize,
  available: i32,
  positionHigh: u32,
  positionLow: u32,
  crcLimitBytes: i32,
  table: usize,
  tableMask: u32,
  result: usize,
): i32 {
  const position = positionOf(positionHigh, positionLow);
  return parse(address, available, position, crcLimitBytes, table, tableMask, result);
}

// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
function positionOf(high: u32, low: u32): i64 {
  return <i64>((<u64>high << 32) | low);
}

function parse(
  address: usize,
  available: i32,
  position: i64,
  crcLimitBytes: i32,
  table: usize,
  tableMask: u32,
  result: usize,
): i32 {
  if (available < 8) return TOO_SHORT;
  const totalSize = bswap<i32>(load<i32>(address));
  const magic = bswap<u32>(load<u32>(address, 4));
  if (magic != MAGIC_V1 && magic != MAGIC_V2) {
    return magic == BLANK_MAGIC && totalSize == available ? BLANK : BAD_MAGIC;
  }
  if (available < <i32>FIXED_SIZE_BYTES) return TOO_SHORT;
  if (totalSize < <i32>FIXED_SIZE_BYTES || totalSize > available) return BAD_SIZE;
  const sysFlag = bswap<i32>(load<i32>(address, 36));
  const bornHostSize: usize = sysFlag & BORN_HOST_V6 ? 20 : 8;
  const storeHostSize: usize = sysFlag & STORE_HOST_V6 ? 20 : 8;
  const end = address + totalSize;
  const body = address + 48 + bornHostSize + 8 + storeHostSize + 4 + 8 + 4;
  const topicLengthSize: usize = magic == MAGIC_V2 ? 2 : 1;
  if (body + topicLengthSize + 2 > end) return BAD_SIZE;
  const bodySize = bswap<i32>(load<i32>(body - 4));
  if (bodySize < 0 || <u64>body + bodySize + topicLengthSize + 2 > <u64>end) return BAD_BODY_SIZE;
  const topicLength = body + bodySize;
  const topicSize: i32 =
    magic == MAGIC_V2 ? <i32>(<i16>bswap<u16>(load<u16>(topicLength))) : <i32>load<i8>(topicLength);
  const topic = topicLength + topicLengthSize;
  if (topicSize <= 0 || topic + topicSize + 2 > end) return BAD_TOPIC_SIZE;
  const properties = topic + topicSize + 2;
  let propertiesSize = <i32>(<i16>bswap<u16>(load<u16>(properties - 2)));
  if (propertiesSize < 0 || properties + propertiesSize != end) return BAD_PROPERTIES_SIZE;

  const bodyCrc = bswap<i32>(load<i32>(address, 8));
  if (bodySize <= crcLimitBytes && <i32>(crc32(body, bodySize, 0) & 0x7fffffff) != bodyCrc) return BAD_BODY_CRC;
  if (bswap<i64>(load<i64>(address, 28)) != position) return BAD_PHYSICAL_OFFSET;
  const queueId = bswap<i32>(load<i32>(address, 12));
  const queueOffset = bswap<i64>(load<i64>(address, 20));
  if (queueId < 0 || queueOffset < 0 || queueOffset > MAX_SAFE_INTEGER) return BAD_QUEUE;
  const bornTimestamp = bswap<i64>(load<i64>(address, 40));
  const storeTimestamp = bswap<i64>(load<i64>(address + 48 + bornHostSize));
  if (
    storeTimestamp <= 0 ||
    storeTimestamp > MAX_SAFE_INTEGER ||
    bornTimestamp > MAX_SAFE_INTEGER ||
    bornTimestamp < -MAX_SAFE_INTEGER
  ) {
    return BAD_TIMESTAMP;
  }
  if (propertiesSize >= <i32>CRC_PROPERTY_SIZE_BYTES && isCrcProperty(end - CRC_PROPERTY_SIZE_BYTES)) {
    if (!isCrcPropertyRight(address, totalSize)) return BAD_PROPERTY_CRC;
    propertiesSize -= <i32>CRC_PROPERTY_SIZE_BYTES;
  } else if (load<u32>(result, RESULT_NEEDS_CRC) != 0) {
    return BAD_PROPERTY_CRC;
  }

  store<i32>(result, totalSize, RESULT_SIZE);
  store<usize>(result, table == 0 ? 0 : findQueue(table, tableMask, topic, topicSize, queueId), RESULT_QUEUE);
  store<i32>(result, queueId, RESULT_QUEUE_ID);
  store<i32>(result, sysFlag, RESULT_SYS_FLAG);
  store<usize>(result, topic, RESULT_TOPIC);
  store<i32>(result, topicSize, RESULT_TOPIC_SIZE);
  store<usize>(result, body, RESULT_BODY);
  store<i32>(result, bodySize, RESULT_BODY_SIZE);
  store<usize>(result, properties, RESULT_PROPERTIES);
  store<i32>(result, propertiesSize, RESULT_PROPERTIES_SIZE);
  store<i32>(result, bodyCrc, RESULT_BODY_CRC);
  store<f64>(result, <f64>queueOffset, RESULT_QUEUE_OFFSET);
  store<f64>(result, <f64>bornTimestamp, RESULT_BORN_TIMESTAMP);
  store<f64>(result, <f64>storeTimestamp, RESULT_STORE_TIMESTAMP);
  store<u64>(result, 0, RESULT_KEYS);
  store<u32>(result, 0, RESULT_OTHER_PROPERTIES);
  if (propertiesSize != 0) readProperties(properties, properties + propertiesSize, result);
  return OK;
}

// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
function isCrcProperty(at: usize): bool {
  return load<u64>(at) == CRC_PROPERTY_NAME && load<u8>(at, 8) == <u8>NAME_END;
}

/** Whether the last 20 bytes hold the CRC of all before them. */
function isCrcPropertyRight(record: usize, sizeBytes: usize): bool {
  const at = record + sizeBytes - CRC_PROPERTY_SIZE_BYTES;
  let rest = crc32(record, sizeBytes - CRC_PROPERTY_SIZE_BYTES, 0) & 0x7fffffff;
  for (let digit: usize = 0; digit < 10; digit++) {
    if (load<u8>(at + 9 + digit) != <u8>(0x30 + (rest % 10))) return false;
    rest /= 10;
  }
  return load<u8>(at, 19) == <u8>PAIR_END;
}

/** Finds the last KEYS value and counts the other pairs, by the rules of RocketMQ's parser. */
function readProperties(at: usize, end: usize, result: usize): void {
  let others: u32 = 0;
  while (at < end) {
    const pair = at;
    let nameEnd: usize = 0;
    while (at < end) {
      const byte = <u32>load<u8>(at);
      if (byte == PAIR_END) break;
      if (byte == NAME_END && nameEnd == 0) nameEnd = at;
      at++;
    }
    if (nameEnd > pair && nameEnd + 1 < at) {
      if (nameEnd - pair == 4 && load<u32>(pair) == KEYS) {
        store<usize>(result, nameEnd + 1, RESULT_KEYS);
        store<usize>(result, at - nameEnd - 1, RESULT_KEYS_SIZE);
      } else {
        others++;
      }
    }
    at++;
  }
  store<u32>(result, others, RESULT_OTHER_PROPERTIES);
}

/** Puts a queue's block, topic and queueId filled in, into the hash table. The table must have a free entry. */
export function registerCommitlogQueue(table: usize, tableMask: u32, queue: usize): void {
  const hash = hashQueue(queue + TOPIC, load<i32>(queue, TOPIC_SIZE), load<i32>(queue, QUEUE_ID));
  store<u32>(queue, hash, HASH);
  let slot = hash & tableMask;
  while (load<u32>(table + (<usize>slot << 2)) != 0) slot = (slot + 1) & tableMask;
  store<u32>(table + (<usize>slot << 2), <u32>queue);
}

function findQueue(table: usize, tableMask: u32, topic: usize, topicSize: i32, queueId: i32): usize {
  const hash = hashQueue(topic, topicSize, queueId);
  let slot = hash & tableMask;
  while (true) {
    const queue = <usize>load<u32>(table + (<usize>slot << 2));
    if (queue == 0) return 0;
    if (
      load<u32>(queue, HASH) == hash &&
      load<i32>(queue, QUEUE_ID) == queueId &&
      load<i32>(queue, TOPIC_SIZE) == topicSize &&
      isSameTopic(queue + TOPIC, topic, topicSize)
    ) {
      return queue;
    }
    slot = (slot + 1) & tableMask;
  }
}

/** Reads whole words, as `hashQueue`. */
// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
function isSameTopic(a: usize, b: usize, sizeBytes: i32): bool {
  let rest = sizeBytes;
  while (rest >= 8) {
    if (load<u64>(a) != load<u64>(b)) return false;
    a += 8;
    b += 8;
    rest -= 8;
  }
  return rest == 0 || ((load<u64>(a) ^ load<u64>(b)) << (<u64>(8 - rest) << 3)) == 0;
}

/** Reads whole words; behind a topic stand at least its properties' length and the file's blank, or zeros. */
// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
function hashQueue(topic: usize, topicSize: i32, queueId: i32): u32 {
  let hash: u64 = (<u64>queueId + 1) * 0x9e37_79b9_7f4a_7c15;
  let rest = topicSize;
  while (rest >= 8) {
    hash = rotl<u64>((hash ^ load<u64>(topic)) * 0xff51_afd7_ed55_8ccd, 31);
    topic += 8;
    rest -= 8;
  }
  if (rest > 0) {
    const tail = load<u64>(topic) & (((<u64>1) << (<u64>rest << 3)) - 1);
    hash = rotl<u64>((hash ^ tail) * 0xff51_afd7_ed55_8ccd, 31);
  }
  hash *= 0xc4ce_b9fe_1a85_ec53;
  return <u32>(hash >>> 32);
}

// What dispatchCommitlog reads and writes in its 48-byte progress block (little-endian). HAS_TAGS_CODE and TAGS_CODE are
// an answer to UNUSUAL: the tagsCode for the record that the next call begins with. KEYED is the address of a list of
// records (u32 addresses) that have keys to be indexed, or may have; KEYED_CAPACITY is 0 when nobody wants it.
const PROGRESS_CONSUMED: usize = 0;
const PROGRESS_QUEUE: usize = 4;
const PROGRESS_LISTED: usize = 8;
const PROGRESS_UNITS: usize = 12;
const PROGRESS_STORE_TIMESTAMP: usize = 16;
const PROGRESS_HAS_TAGS_CODE: usize = 24;
const PROGRESS_KEYED: usize = 28;
const PROGRESS_TAGS_CODE: usize = 32;
const PROGRESS_KEYED_COUNT: usize = 40;
const PROGRESS_KEYED_CAPACITY: usize = 44;

// Why dispatchCommitlog returned.
const AT_END = 0;
const AT_BLANK = 1;
const UNITS_FULL = 2;
const UNUSUAL = 3;
const UNKNOWN_QUEUE = 4;
const OUT_OF_ORDER = 5;
const NO_RECORD = 6;
const KEYED_FULL = 7;

/** The properties that readTagsCode was last given hold KEYS or UNIQ_KEY. */
let sawKeys: bool = false;

/**
 * The reput step: reads records from `address` on, which is at that position of the log, and puts a unit for each
 * into its queue's buffer. Trusts what the encoder wrote, so it looks at no checksum, as RocketMQ.
 *
 * Adds to `progress`: bytes consumed, units made, store time of the last record, and the queues that got their first
 * unit, which it appends to `list`. The record that stopped it is not consumed.
 *
 * @returns 0 all done; 1 a blank; 2 the queue named in `progress` has no room; 3 a record whose tagsCode JavaScript has to
 * find; 4 an unknown queue; 5 a queue offset other than the queue's next; 6 no record; 7 the list of records with keys is full
 */
export function dispatchCommitlog(
  address: usize,
  sizeBytes: usize,
  positionHigh: u32,
  positionLow: u32,
  table: usize,
  tableMask: u32,
  list: usize,
  progress: usize,
): i32 {
  const start = address;
  const limit = address + sizeBytes;
  let outcome = AT_END;
  let position = positionOf(positionHigh, positionLow);
  let units = load<u32>(progress, PROGRESS_UNITS);
  const keyed = <usize>load<u32>(progress, PROGRESS_KEYED);
  const keyedCapacity = load<u32>(progress, PROGRESS_KEYED_CAPACITY);
  const listsKeyed = keyedCapacity != 0;
  let keyedCount = load<u32>(progress, PROGRESS_KEYED_COUNT);
  while (address < limit) {
    if (listsKeyed && keyedCount == keyedCapacity) {
      outcome = KEYED_FULL;
      break;
    }
    const totalSize = <usize>bswap<u32>(load<u32>(address));
    const magic = bswap<u32>(load<u32>(address, 4));
    if (magic != MAGIC_V1 && magic != MAGIC_V2) {
      outcome = magic == BLANK_MAGIC ? AT_BLANK : NO_RECORD;
      break;
    }
    if (totalSize < FIXED_SIZE_BYTES || address + totalSize > limit) {
      outcome = NO_RECORD;
      break;
    }
    const sysFlag = bswap<i32>(load<i32>(address, 36));
    const bornHostSize: usize = sysFlag & BORN_HOST_V6 ? 20 : 8;
    const storeHostSize: usize = sysFlag & STORE_HOST_V6 ? 20 : 8;
    const transaction = sysFlag & TRANSACTION_MASK;
    if (transaction == 0 || transaction == TRANSACTION_COMMIT) {
      const body = address + 48 + bornHostSize + 8 + storeHostSize + 16;
      let topic = body + bswap<u32>(load<u32>(body - 4));
      let topicSize: i32;
      if (magic == MAGIC_V2) {
        topicSize = <i32>bswap<u16>(load<u16>(topic));
        topic += 2;
      } else {
        topicSize = <i32>load<u8>(topic);
        topic += 1;
      }
      if (topic + topicSize > limit) {
        outcome = NO_RECORD;
        break;
      }
      const queue = findQueue(table, tableMask, topic, topicSize, bswap<i32>(load<i32>(address, 12)));
      if (queue == 0) {
        outcome = UNKNOWN_QUEUE;
        break;
      }
      const queueOffset = bswap<i64>(load<i64>(address, 20));
      if (queueOffset != load<i64>(queue, DISPATCHED_OFFSET)) {
        outcome = OUT_OF_ORDER;
        break;
      }
      let tagsCode: i64 = 0;
      const properties = topic + topicSize + 2;
      let mayHaveKeys = false;
      if (load<u32>(progress, PROGRESS_HAS_TAGS_CODE) != 0) {
        tagsCode = <i64>load<f64>(progress, PROGRESS_TAGS_CODE);
        mayHaveKeys = true;
      } else if (properties < address + totalSize) {
        tagsCode = readTagsCode(properties, address + totalSize);
        if (tagsCode == UNUSUAL_TAGS) {
          outcome = UNUSUAL;
          break;
        }
        mayHaveKeys = sawKeys;
      }
      const unitCount = load<u32>(queue, UNIT_COUNT);
      if (unitCount >= load<u32>(queue, UNIT_CAPACITY)) {
        store<usize>(progress, queue, PROGRESS_QUEUE);
        outcome = UNITS_FULL;
        break;
      }
      const unit = <usize>load<u32>(queue, UNITS_ADDRESS) + <usize>unitCount * UNIT_SIZE_BYTES;
      store<i64>(unit, bswap<i64>(position));
      store<u32>(unit, load<u32>(address), 8);
      store<i64>(unit, bswap<i64>(tagsCode), 12);
      store<u32>(progress, 0, PROGRESS_HAS_TAGS_CODE);
      store<u32>(queue, unitCount + 1, UNIT_COUNT);
      store<i64>(queue, queueOffset + 1, DISPATCHED_OFFSET);
      units++;
      if (load<u32>(queue, IS_LISTED) == 0) {
        store<u32>(queue, 1, IS_LISTED);
        const listed = load<u32>(progress, PROGRESS_LISTED);
        store<u32>(list + (<usize>listed << 2), <u32>queue);
        store<u32>(progress, listed + 1, PROGRESS_LISTED);
      }
      if (mayHaveKeys && listsKeyed) store<u32>(keyed + (<usize>(keyedCount++) << 2), <u32>address);
    } else if (transaction == TRANSACTION_PREPARED && listsKeyed) {
      // In no queue, but indexed; whoever takes the list looks for its keys.
      store<u32>(keyed + (<usize>(keyedCount++) << 2), <u32>address);
    }
    store<f64>(progress, <f64>bswap<i64>(load<i64>(address + 48 + bornHostSize)), PROGRESS_STORE_TIMESTAMP);
    address += totalSize;
    position += totalSize;
  }
  store<u32>(progress, <u32>(address - start), PROGRESS_CONSUMED);
  store<u32>(progress, units, PROGRESS_UNITS);
  store<u32>(progress, keyedCount, PROGRESS_KEYED_COUNT);
  return outcome;
}

const UNUSUAL_TAGS: i64 = i64.MIN_VALUE;

/**
 * Notes whether there are keys, and gives Java's hashCode of the last TAGS value, 0 without one; UNUSUAL_TAGS when JavaScript must look: tags beyond ASCII, or a
 * delayed message, whose unit holds its due time instead.
 */
function readTagsCode(at: usize, end: usize): i64 {
  let tagsCode: i64 = 0;
  sawKeys = false;
  while (at < end) {
    const pair = at;
    while (at < end && <u32>load<u8>(at) > PAIR_END) at++;
    const nameSize = at - pair;
    if (nameSize == 5 && load<u32>(pair) == 0x414c4544 /* DELA */ && load<u8>(pair, 4) == 0x59) return UNUSUAL_TAGS;
    if (nameSize == 4 && load<u32>(pair) == TAGS && at + 1 < end && load<u8>(at) == <u8>NAME_END) {
      at++;
      let hash: i32 = 0;
      const value = at;
      while (at < end) {
        const byte = <i32>load<u8>(at);
        if (byte == PAIR_END) break;
        if (byte >= 0x80) return UNUSUAL_TAGS;
        hash = hash * 31 + byte;
        at++;
      }
      if (at > value) tagsCode = hash;
    } else {
      if (nameSize == 4 && load<u32>(pair) == KEYS) sawKeys = true;
      else if (nameSize == 8 && load<u64>(pair) == UNIQ_KEY) sawKeys = true;
      while (at < end && load<u8>(at) != <u8>PAIR_END) at++;
    }
    at++;
  }
  return tagsCode;
}
