import { OPEN_FILES_A_CONSUMER } from "../consumers.js";
import { OpenError } from "../errors.js";
import type { Storage, StorageFile } from "../storage/storage.js";

const MOST_KEPT_OPEN = 1_024;
/** Windows of the log, the next file, the checkpoint, the lock, and what the process has open anyhow. */
const OTHER_OPEN_FILES = 64;

/** Consumequeue and index files that may stay open: half of what the process may have, at most. */
export function openFilesKept(storage: Storage): number {
  return Math.min(MOST_KEPT_OPEN, Math.floor(storage.openFileLimit() / 2));
}

/** Before anything is opened, rather than when the limit is hit. @throws OpenError */
export function checkOpenFiles(storage: Storage, logFileCount: number, consumerCount: number): void {
  const limit = storage.openFileLimit();
  const needed = logFileCount + openFilesKept(storage) + OTHER_OPEN_FILES + consumerCount * OPEN_FILES_A_CONSUMER;
  if (needed <= limit) return;
  const consumers = consumerCount === 0 ? "" : ` and ${consumerCount} consumers`;
  throw new OpenError(
    `${logFileCount} commitlog files${consumers} need ${needed} open files, and this process may have ${limit}. Raise the limit (ulimit -n), or take larger files (segmentSizeBytes) for a new store.`,
  );
}

/**
 * The consumequeue files that are open, at most `capacity`: with thousands of queues a file is opened again for each
 * gathered write sooner than the process runs out of descriptors. The least recently used is closed.
 */
export class OpenFiles {
  /** In order of use, the least recent first. */
  readonly #files = new Map<string, StorageFile>();

  constructor(
    private readonly storage: Storage,
    private readonly capacity: number,
  ) {}

  /** The existing file at `path`, for reading and writing. */
  get(path: string): StorageFile {
    let file = this.#files.get(path);
    if (file === undefined) file = this.storage.open(path, "write");
    else this.#files.delete(path);
    this.#keep(path, file);
    return file;
  }

  /** A new file of full size, all zeros and sparse. */
  create(path: string, sizeBytes: number): StorageFile {
    const file = this.storage.open(path, "create");
    file.truncate(sizeBytes);
    this.#keep(path, file);
    return file;
  }

  remove(path: string): void {
    this.#files.get(path)?.close();
    this.#files.delete(path);
    this.storage.remove(path);
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }

  #keep(path: string, file: StorageFile): void {
    this.#files.set(path, file);
    if (this.#files.size <= this.capacity) return;
    const [oldestPath, oldest] = this.#files.entries().next().value!;
    this.#files.delete(oldestPath);
    oldest.close();
  }
}
