import type { Storage, StorageFile } from "../storage/storage.js";

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
