import { z } from "zod";
import type { Storage } from "../storage/storage.js";
import { UNFINISHED_MEND_FILE } from "./names.js";

/**
 * Which commitlog files are being made whole: the positions in the log where they end. Between the moment that a file has
 * its size again and the one that its lost part is marked it holds zeros, and after a crash zeros end the log. RocketMQ has
 * no such file and passes over it.
 */
const schema = z.strictObject({
  formatVersion: z.literal(1),
  fileEnds: z.array(z.int().positive()),
});

/** Empty where nothing was left unfinished. */
export function readUnfinishedMend(storage: Pick<Storage, "exists" | "readAll">, root: string): readonly number[] {
  const path = `${root}/${UNFINISHED_MEND_FILE}`;
  if (!storage.exists(path)) return [];
  try {
    return schema.parse(JSON.parse(new TextDecoder().decode(storage.readAll(path)))).fileEnds;
  } catch {
    return []; // not ours: as good as absent
  }
}

/** Durable on return. */
export function writeUnfinishedMend(storage: Storage, root: string, fileEnds: readonly number[]): void {
  const content = `${JSON.stringify({ formatVersion: 1, fileEnds })}\n`;
  storage.replaceAll(`${root}/${UNFINISHED_MEND_FILE}`, new TextEncoder().encode(content));
}

/** Once the lost parts are marked, durably. */
export function removeUnfinishedMend(storage: Storage, root: string): void {
  const path = `${root}/${UNFINISHED_MEND_FILE}`;
  if (storage.exists(path)) storage.remove(path);
}
