import { UnrepresentableError } from "../errors.js";

/**
 * Names of RocketMQ's files and directories under a store's root. Source: RocketMQ, store/config/StorePathConfigHelper.java,
 * common/UtilAll.java (offset2FileName, timeMillisToHumanString).
 */

export const COMMITLOG_DIRECTORY = "commitlog";
export const CONSUMEQUEUE_DIRECTORY = "consumequeue";
export const INDEX_DIRECTORY = "index";
/** Of topics of another queue type, which this engine does not know. */
export const BATCH_CONSUMEQUEUE_DIRECTORY = "batchconsumequeue";
/** Queues whose units point at other topics' records, so that they cannot be rebuilt from the log alone. */
export const LIGHT_QUEUE_PREFIX = "%LMQ%";
export const CHECKPOINT_FILE = "checkpoint";
export const ABORT_FILE = "abort";
export const LOCK_FILE = "lock";
/** Ours, not RocketMQ's, which ignores it: see clean-shutdown.ts. */
export const CLEAN_SHUTDOWN_FILE = "clean-shutdown.json";
/** Ours: commitlog files that are being mended. */
export const UNFINISHED_MEND_FILE = "unfinished-mend.json";

const OFFSET_DIGITS = 20;
const OFFSET_FILE_PATTERN = /^\d{20}$/;
const INDEX_FILE_PATTERN = /^\d{17}$/;
const QUEUE_ID_PATTERN = /^(0|[1-9]\d{0,9})$/;
const MAX_QUEUE_ID = 0x7fff_ffff;

/** A topic is a directory's name. RocketMQ's characters, and the dot that Kafka's topics have. */
const TOPIC_PATTERN = /^[%|a-zA-Z0-9._-]+$/;
const MAX_TOPIC_LENGTH = 127;
const RETRY_PREFIX = "%RETRY%";
const MAX_RETRY_TOPIC_LENGTH = 255;

/** `00000000001073741824` for the file that begins at that byte of the log or queue. */
export function offsetFileName(baseOffset: number): string {
  return String(baseOffset).padStart(OFFSET_DIGITS, "0");
}

/** The first byte of the file of that name, or undefined for a file of another kind. */
export function parseOffsetFileName(name: string): number | undefined {
  const baseOffset = OFFSET_FILE_PATTERN.test(name) ? Number(name) : Number.NaN;
  return Number.isSafeInteger(baseOffset) ? baseOffset : undefined;
}

export function parseQueueDirectoryName(name: string): number | undefined {
  const queueId = QUEUE_ID_PATTERN.test(name) ? Number(name) : Number.NaN;
  return queueId <= MAX_QUEUE_ID ? queueId : undefined;
}

export function isTopicName(topic: string): boolean {
  const maxLength = topic.startsWith(RETRY_PREFIX) ? MAX_RETRY_TOPIC_LENGTH : MAX_TOPIC_LENGTH;
  if (topic.length > maxLength || !TOPIC_PATTERN.test(topic)) return false;
  return topic !== "." && topic !== ".." && !topic.startsWith(LIGHT_QUEUE_PREFIX);
}

/** @throws UnrepresentableError if `topic` is no name that RocketMQ and a file system take */
export function checkTopicName(topic: string): void {
  if (isTopicName(topic)) return;
  throw new UnrepresentableError(
    `The topic name ${JSON.stringify(topic)} cannot be used. Take 1 to 127 of a-z, A-Z, 0-9, ".", "_", "-", "%" and "|" (255 behind %RETRY%), not "." or "..".`,
  );
}

export function isIndexFileName(name: string): boolean {
  return INDEX_FILE_PATTERN.test(name);
}

/** `20231114221320123`: the local time of its creation; but always behind the file before it, whatever the clock does. */
export function indexFileName(nowMs: number, before: string | undefined): string {
  const now = new Date(nowMs);
  const parts = [now.getMonth() + 1, now.getDate(), now.getHours(), now.getMinutes(), now.getSeconds()];
  const text = [
    String(now.getFullYear()).padStart(4, "0"),
    ...parts.map((part) => String(part).padStart(2, "0")),
    String(now.getMilliseconds()).padStart(3, "0"),
  ].join("");
  return before === undefined || text > before ? text : String(BigInt(before) + 1n).padStart(17, "0");
}
