import { UnrepresentableError } from "../errors.js";

/**
 * Names of Kafka's files and directories. Source: Kafka, storage/…/log/LogFileUtils.java, core/…/log/LocalLog.scala.
 */

export const LOG_SUFFIX = ".log";
export const OFFSET_INDEX_SUFFIX = ".index";
export const TIME_INDEX_SUFFIX = ".timeindex";
export const PRODUCER_SNAPSHOT_SUFFIX = ".snapshot";
/** A segment's files. The transaction index is Kafka's alone; the snapshot of producers is no segment's. */
export const SEGMENT_SUFFIXES: readonly string[] = [LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, ".txnindex"];
/** Behind the name of a file that is to be deleted: it is no part of the log any more. */
export const DELETED_SUFFIX = ".deleted";
export const LEADER_EPOCH_CHECKPOINT = "leader-epoch-checkpoint";
export const RECOVERY_POINT_CHECKPOINT = "recovery-point-offset-checkpoint";
export const LOG_START_CHECKPOINT = "log-start-offset-checkpoint";
/** Written by Kafka's log cleaner only. */
export const CLEANER_CHECKPOINT = "cleaner-offset-checkpoint";
export const CLEAN_SHUTDOWN_MARKER = ".kafka_cleanshutdown";
export const LOCK_FILE = ".lock";

const OFFSET_DIGITS = 20;
const TOPIC_PATTERN = /^[a-zA-Z0-9._-]{1,249}$/;
const SEGMENT_FILE_PATTERN = /^(\d{20})(\.[a-z]+)$/;
const PARTITION_PATTERN = /^(.+)-(\d+)$/;

/** `00000000000000001024` for 1024: what a segment's files are called before the suffix. */
export function segmentStem(baseOffset: number): string {
  return String(baseOffset).padStart(OFFSET_DIGITS, "0");
}

/** Base offset and suffix of a segment's file, or undefined for a file of another kind. */
export function parseSegmentFile(name: string): { baseOffset: number; suffix: string } | undefined {
  const match = SEGMENT_FILE_PATTERN.exec(name);
  return match === null ? undefined : { baseOffset: Number(match[1]), suffix: match[2]! };
}

export function partitionDirectory(topic: string, index: number): string {
  return `${topic}-${index}`;
}

/** Splits at the last `-`; undefined if the name is no partition's. */
export function parsePartitionDirectory(name: string): { topic: string; index: number } | undefined {
  const match = PARTITION_PATTERN.exec(name);
  if (match === null || !isTopicName(match[1]!)) return undefined;
  const index = Number(match[2]);
  return String(index) === match[2] && index <= 0x7fff_ffff ? { topic: match[1]!, index } : undefined;
}

/** @throws UnrepresentableError if Kafka would not take `topic` as a name */
export function checkTopicName(topic: string): void {
  if (isTopicName(topic)) return;
  throw new UnrepresentableError(
    `The topic name ${JSON.stringify(topic)} cannot be used. Take 1 to 249 of the characters a-z, A-Z, 0-9, ".", "_" and "-", not "." or "..".`,
  );
}

function isTopicName(topic: string): boolean {
  return TOPIC_PATTERN.test(topic) && topic !== "." && topic !== "..";
}
