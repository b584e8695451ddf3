import { dirname } from "node:path";
import { UnrepresentableError } from "../errors.js";
import type { Storage } from "../storage/storage.js";

/**
 * Kafka's text checkpoints: line 1 the version (0), line 2 the number of entries, then an entry a line. Source: Kafka,
 * server-common/…/common/CheckpointFile.java and storage/…/checkpoint/.
 */

export interface EpochEntry {
  readonly epoch: number;
  /** First offset of the epoch. */
  readonly startOffset: number;
}

/** `recovery-point-offset-checkpoint` and its like: `<topic> <partition> <offset>`, by partition directory name. */
export function encodeOffsets(offsets: Iterable<{ topic: string; index: number; offset: number }>): Uint8Array {
  return encodeLines([...offsets].map(({ topic, index, offset }) => `${topic} ${index} ${offset}`));
}

/** @throws UnrepresentableError if the content has not this form; an empty file is an empty checkpoint */
export function decodeOffsets(content: Uint8Array): Map<string, number> {
  return new Map(
    decodeLines(content, 3).map(([topic, index, offset]) => [`${topic}-${index}`, wholeNumber(offset!)] as const),
  );
}

/** `leader-epoch-checkpoint`: `<epoch> <start offset>`, ascending. */
export function encodeEpochs(entries: readonly EpochEntry[]): Uint8Array {
  return encodeLines(entries.map(({ epoch, startOffset }) => `${epoch} ${startOffset}`));
}

/** @throws UnrepresentableError if the content has not this form */
export function decodeEpochs(content: Uint8Array): EpochEntry[] {
  return decodeLines(content, 2).map(([epoch, startOffset]) => ({
    epoch: wholeNumber(epoch!),
    startOffset: wholeNumber(startOffset!),
  }));
}

/**
 * Replaces a checkpoint so that a crash leaves the old or the new one, off this thread: write `<path>.tmp`, sync, rename,
 * sync the directory.
 */
export async function replaceAside(storage: Storage, path: string, content: Uint8Array): Promise<void> {
  const temporary = `${path}.tmp`;
  if (storage.exists(temporary)) storage.remove(temporary);
  const file = storage.open(temporary, "create");
  try {
    file.write(content, 0, content.byteLength, 0);
    await file.sync();
  } finally {
    file.close();
  }
  storage.rename(temporary, path);
  await storage.syncDirectoryAside(dirname(path));
}

/** Content of `.kafka_cleanshutdown`, of which only the existence counts. */
export const CLEAN_SHUTDOWN_CONTENT = Buffer.from('{"version":0,"brokerEpoch":-1}');

function encodeLines(lines: readonly string[]): Uint8Array {
  return Buffer.from(`${["0", String(lines.length), ...lines].join("\n")}\n`);
}

function decodeLines(content: Uint8Array, tokensPerLine: number): string[][] {
  const text = Buffer.from(content).toString("utf8");
  if (text === "") return [];
  const [version, count, ...rest] = (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
  if (version !== "0")
    throw new UnrepresentableError(`A checkpoint of version ${JSON.stringify(version)} is not known.`);
  const lines = rest.map((line) => line.split(/\s+/));
  if (String(lines.length) !== count || lines.some((tokens) => tokens.length !== tokensPerLine)) {
    throw new UnrepresentableError("A checkpoint does not hold what its second line announces.");
  }
  return lines;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,19}$/.test(text))
    throw new UnrepresentableError(`A checkpoint holds ${JSON.stringify(text)} for a number.`);
  return Number(text);
}
