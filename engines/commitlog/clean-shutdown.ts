import { z } from "zod";
import type { Storage } from "../storage/storage.js";
import { CLEAN_SHUTDOWN_FILE } from "./names.js";

const offsetSchema = z.int().nonnegative();

/**
 * Where the log and each queue ended at a clean shutdown. RocketMQ has no such file: it believes a consumequeue whenever
 * `abort` is absent, and then skips messages for ever when one lags. With it a clean reopening checks each queue's end
 * against the file and reads nothing of the log; without it, or when it does not match (RocketMQ went on with the
 * directory), the log is scanned.
 */
const schema = z.strictObject({
  formatVersion: z.literal(1),
  logEndOffset: offsetSchema,
  /** Position of the oldest file's first byte; absent in files of earlier versions and where the log is empty. */
  logStartOffset: offsetSchema.optional(),
  storeTimestampMs: offsetSchema,
  /** Topic, queueId, queue offset of the oldest message, of the next. */
  queues: z.array(z.tuple([z.string(), offsetSchema, offsetSchema, offsetSchema])),
  /** Of each file of the key index its name and the number of its next item; absent without an index. */
  keyIndex: z.array(z.tuple([z.string(), offsetSchema])).optional(),
  /** Where the log is known to be damaged, first byte and the next sound one; absent where it is not. */
  damaged: z.array(z.tuple([offsetSchema, offsetSchema])).optional(),
});

export type CleanShutdown = z.infer<typeof schema>;

export function readCleanShutdown(
  storage: Pick<Storage, "exists" | "readAll">,
  root: string,
): CleanShutdown | undefined {
  const path = `${root}/${CLEAN_SHUTDOWN_FILE}`;
  if (!storage.exists(path)) return undefined;
  try {
    return schema.parse(JSON.parse(new TextDecoder().decode(storage.readAll(path))));
  } catch {
    return undefined; // torn or not ours: as good as absent
  }
}

/** Durable on return. */
export function writeCleanShutdown(storage: Storage, root: string, state: CleanShutdown): void {
  storage.replaceAll(`${root}/${CLEAN_SHUTDOWN_FILE}`, new TextEncoder().encode(`${JSON.stringify(state)}\n`));
}

export function removeCleanShutdown(storage: Storage, root: string): void {
  const path = `${root}/${CLEAN_SHUTDOWN_FILE}`;
  if (storage.exists(path)) storage.remove(path);
}
