import { readInt64, writeInt64 } from "../codec/commitlog-message.js";
import type { Storage, StorageFile } from "../storage/storage.js";
import { CHECKPOINT_FILE } from "./names.js";

/**
 * How far the directory's files were known to be on the device: recovery after a crash starts a little before.
 *
 *   at  i64 BE  field
 *    0          physicMsgTimestamp   store time up to which the commitlog is synced
 *    8          logicsMsgTimestamp   store time up to which the consumequeues are synced
 *   16          indexMsgTimestamp    store time up to which full files of the key index are synced
 *   24          masterFlushedOffset  of replicas: 0
 *   32          confirmPhyOffset     of replicas: 0
 *   40..4095    zeros
 *
 * RocketMQ's logicsMsgTimestamp says only that units were written; ours that they are on the device, so that units below
 * it can be believed after a power loss. Source: RocketMQ, store/StoreCheckpoint.java.
 */
export interface Checkpoint {
  physicMsgTimestampMs: number;
  logicsMsgTimestampMs: number;
  indexMsgTimestampMs: number;
}

const FILE_SIZE_BYTES = 4_096;

/** The stored checkpoint, or undefined where there is none or it makes no sense. */
export function readCheckpoint(storage: Pick<Storage, "exists" | "readAll">, root: string): Checkpoint | undefined {
  const path = `${root}/${CHECKPOINT_FILE}`;
  if (!storage.exists(path)) return undefined;
  const bytes = storage.readAll(path);
  if (bytes.length < 24) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const times = [0, 8, 16].map((at) => readInt64(view, at));
  if (!times.every((time) => Number.isSafeInteger(time) && time >= 0)) return undefined;
  const [physicMsgTimestampMs, logicsMsgTimestampMs, indexMsgTimestampMs] = times as [number, number, number];
  return { physicMsgTimestampMs, logicsMsgTimestampMs, indexMsgTimestampMs };
}

/** Keeps the file; its 40 bytes lie in one sector, so a crash leaves the old or the new. */
export class CheckpointFile {
  readonly #file: StorageFile;
  readonly #bytes = new Uint8Array(FILE_SIZE_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(storage: Storage, root: string) {
    const path = `${root}/${CHECKPOINT_FILE}`;
    this.#file = storage.open(path, storage.exists(path) ? "write" : "create");
  }

  write(checkpoint: Checkpoint): void {
    writeInt64(this.#view, 0, checkpoint.physicMsgTimestampMs);
    writeInt64(this.#view, 8, checkpoint.logicsMsgTimestampMs);
    writeInt64(this.#view, 16, checkpoint.indexMsgTimestampMs);
    this.#file.write(this.#bytes, 0, FILE_SIZE_BYTES, 0);
  }

  syncNow(): void {
    this.#file.syncNow();
  }

  close(): void {
    this.#file.close();
  }
}
