import { KEYS_PROPERTY, parseProperties, SysFlag } from "../codec/commitlog-message.js";
import type { KeyedMessageVisitor, KeyQuery } from "../engine.js";
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
  for (const position of keyIndex.candidates(indexHash(topic, key), fromMs, toMs)) {
    if (messageCount >= maxMessages || !reader.isKept(position)) break;
    const { parser, queue } = reader.readAt(position);
    // A prepared message is in no queue; whether it ever is, its commit decides.
    if ((parser.sysFlag & SysFlag.TRANSACTION_MASK) === SysFlag.TRANSACTION_PREPARED) continue;
    if (parser.storeTimestampMs < fromMs || parser.storeTimestampMs > toMs) continue;
    if (queue === undefined || queue.topic !== topic || !hasKey(parser.properties(), key)) continue;
    messageCount++;
    visit(reader.parsedMessage(position), queue.handle);
  }
  return messageCount;
}

function hasKey(properties: Uint8Array, key: string): boolean {
  return parseProperties(properties).some(
    ({ name, value }) =>
      (name === UNIQUE_KEY_PROPERTY && value === key) || (name === KEYS_PROPERTY && value.split(" ").includes(key)),
  );
}
