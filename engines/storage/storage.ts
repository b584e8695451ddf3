/**
 * The one seam between the engines and the operating system. `DiskStorage` is real; `FaultyStorage` lets a test lose,
 * tear and flip bytes and fail any call. All paths are absolute; all sizes and positions are bytes.
 *
 * Calls are synchronous where the original's are (a write costs 9 µs so and 49 µs through a promise); only `sync` has an
 * asynchronous form as well, because a device takes its time and the appends go on meanwhile.
 */

/** Exact counts of what went through the seam. */
export interface StorageCounters {
  writeCalls: number;
  writtenBytes: number;
  readCalls: number;
  readBytes: number;
  /** fdatasync, fsync and msync together, of files and of directories. */
  syncCalls: number;
  filesOpened: number;
  filesCreated: number;
  filesDeleted: number;
}

/** How the page cache is to treat a file's pages: "drop" concerns those that are clean and not mapped. */
export type FileAdvice = "random" | "sequential" | "drop";

export interface Storage {
  readonly counters: StorageCounters;
  /** `StorageFile.sync` makes durable what was stored through mappings of the file, too, as it does on Linux. */
  readonly syncCoversMappings: boolean;
  /** `StorageFile.advise` reaches the page cache, as it does on Linux. */
  readonly takesAdvice: boolean;

  /** `create` fails if the file exists; `write` and `read` fail if it does not. */
  open(path: string, mode: "create" | "write" | "read"): StorageFile;
  exists(path: string): boolean;
  /** Entries of a directory, sorted by name. */
  list(path: string): readonly DirectoryEntry[];
  /** Creates the directory and the parents it lacks; nothing happens if it is there. */
  makeDirectory(path: string): void;
  /** Removes an empty directory. */
  removeDirectory(path: string): void;
  remove(path: string): void;
  /** The same off this thread: giving back a large file's blocks takes its time. */
  removeAside(path: string): Promise<void>;
  /** When the file's content was last changed, in ms since the epoch. */
  modifiedMs(path: string): number;
  rename(from: string, to: string): void;
  /** Makes creations, renames and removals in this directory durable. */
  syncDirectory(path: string): void;
  /** The same off this thread, for what was changed before the call: a journal with much to write takes its time. */
  syncDirectoryAside(path: string): Promise<void>;
  /** Reads a small file whole. */
  readAll(path: string): Uint8Array;
  /**
   * Replaces a small file so that a crash leaves the old or the new content: write `<path>.tmp`, fsync, rename, fsync the
   * directory.
   */
  replaceAll(path: string, content: Uint8Array): void;
  /** Takes an exclusive lock for the life of this process, or says that another holds it by returning null. */
  lock(path: string): StorageLock | null;
  /** Whether anybody holds such a lock, without taking it or touching the file: reading it is enough. */
  isLocked(path: string): boolean;
  /** Free bytes for an unprivileged user on the filesystem that holds `path`. */
  freeBytes(path: string): number;
  /** Files that this process may have open at once; Infinity where nobody says. */
  openFileLimit(): number;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly kind: "file" | "directory" | "other";
}

export interface StorageLock {
  release(): void;
}

/** Positions in a file: the first byte, and behind the last. */
export interface FileRange {
  readonly from: number;
  readonly to: number;
}

export interface StorageFile {
  readonly path: string;
  /** The system's descriptor of it, for a transfer to a socket, good until `close`; null of a file that is in memory. */
  readonly descriptor: number | null;
  /** Writes all `sizeBytes` bytes of `source` from `at` on to `positionBytes`, whatever the kernel splits. */
  write(source: Uint8Array, at: number, sizeBytes: number, positionBytes: number): void;
  /** Reads up to `sizeBytes`; fewer only at the end of the file. @returns bytes read */
  read(target: Uint8Array, at: number, sizeBytes: number, positionBytes: number): number;
  /**
   * fdatasync off this thread; what was written before the call is durable when it resolves. After a rejection the
   * kernel may have dropped those bytes: a later success says nothing of them.
   */
  sync(): Promise<void>;
  /** fdatasync on this thread. */
  syncNow(): void;
  sizeBytes(): number;
  /**
   * The first part of the file at or behind `positionBytes` that is not a hole; null if only holes, or nothing, follow. A
   * hole reads as zeros. Where the system tells of none (other than Linux) it is all there is.
   */
  dataFrom(positionBytes: number): FileRange | null;
  truncate(sizeBytes: number): void;
  /**
   * Reserves blocks so that writes below `sizeBytes` do not grow the file; falls back to a plain extension.
   * @returns whether they are reserved
   */
  allocate(sizeBytes: number): boolean;
  /**
   * Maps the file shared and writable over the heap's window at `address` (from `heap.reserveWindow`): a kernel that
   * encodes into the heap then encodes into the page cache. `address` and `positionBytes` are multiples of 64 KiB, and
   * the file has all those bytes: a store past its end would end the process (so does a store into a hole of a full
   * disk: `allocate` first). The mapping outlives `close`.
   */
  map(address: number, sizeBytes: number, positionBytes: number): MappedRegion;
  /** Advises the page cache on a range; a size of 0 reaches to the file's end. @throws UnsupportedError */
  advise(advice: FileAdvice, positionBytes: number, sizeBytes: number): void;
  /** Syncs that are under way finish first, behind the caller's back. */
  close(): void;
}

export interface MappedRegion {
  /** Heap address of the file's byte `positionBytes`. */
  readonly address: number;
  readonly sizeBytes: number;
  /** Faults pages in for writing, off the append path, without changing them. `at` and `sizeBytes` within the region. */
  populate(at: number, sizeBytes: number): Promise<void>;
  /**
   * Makes durable what was stored in that part of the region, off this thread, and leaves other dirty pages alone: those
   * faulted in ahead need not be written yet. What becomes durable is as with `StorageFile.sync`. The region stays mapped
   * until it has resolved.
   */
  sync(at: number, sizeBytes: number): Promise<void>;
  /** As the advice "random" to `StorageFile.advise`, for what is read through this mapping. */
  adviseRandomReads(): void;
  /** Gives the window back to the heap's anonymous memory; the file keeps what was stored. */
  unmap(): void;
}
