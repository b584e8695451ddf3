import { KEYS_PROPERTY, parseProperties, SysFlag } from "../codec/commitlog-message.js";
import type { KeyedMessageVisitor, KeyQuery } from "../engine.js";
import { CorruptDataError } from "../errors.js";
import { indexHash, type KeyIndex } from "./key-index.js";
import type { Reader } from "./reader.js";

const UNIQUE_KEY_PROPERTY = "UNIQ_KEY";

/**
 * Visits the messages of `topic` that have `key`, the newest first. The index knows hashes and seconds; the record says
 * whether it is the topic, the key and the time asked for. @throws CorruptDataError @returns how many
 *
 * Source: RocketMQ, store/DefaultMessageStore.java (queryMessage), which returns whatever has the hash.
 */
export function visitByKey(
  reader: Reader,
  keyIndex: KeyIndex,
  topic: string,
  key: string,
  { fromMs, toMs, maxMessages }: KeyQuery,
  visit: KeyedMessageVisitor,
): number {
  let messageCount = 0;
  const hash = indexHash(topic, key);
  for (const position of keyIndex.candidates(hash, fromMs, toMs)) {
    if (messageCount >= maxMessages || !reader.isKept(position)) break;
    const { parser, queue } = reader.readAt(position);
    // A prepared message is in no queue; whether it ever is, its commit decides.
    if ((parser.sysFlag & SysFlag.TRANSACTION_MASK) === SysFlag.TRANSACTION_PREPARED) continue;
    if (parser.storeTimestampMs < fromMs || parser.storeTimestampMs > toMs) continue;
    if (queue === undefined) continue;
    const keys = keysOf(parser.properties());
    if (!keys.some((each) => indexHash(queue.topic, each) === hash)) {
      throw new CorruptDataError(`An item for the key ${key} that points at a message without it`, "index", position);
    }
    if (queue.topic !== topic || !keys.includes(key)) continue;
    messageCount++;
    visit(reader.parsedMessage(position), queue.handle);
  }
  return messageCount;
}

function keysOf(properties: Uint8Array): string[] {
  return parseProperties(properties).flatMap(({ name, value }) => {
    if (name === UNIQUE_KEY_PROPERTY) return [value];
    return name === KEYS_PROPERTY ? value.split(" ") : [];
  });
}
