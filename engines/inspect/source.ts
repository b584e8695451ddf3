import { join } from "node:path";
import type { DirectoryEntry, FileRange, Storage, StorageFile } from "../storage/storage.js";
import { blame, type FileKind, type FileReport, newFile } from "./report.js";

/** All that an inspection can do to a disk: nothing here writes. */
export type ReadableStorage = Pick<Storage, "open" | "exists" | "list" | "readAll" | "isLocked">;

/** Larger than any checkpoint, marker or list of producers. */
const SMALL_FILE_LIMIT_BYTES = 64 << 20;
const CHUNK_SIZE_BYTES = 64 << 10;
const ZEROS = Buffer.alloc(CHUNK_SIZE_BYTES);
const SCRATCH = Buffer.alloc(CHUNK_SIZE_BYTES);

/** The files below one directory, by their path relative to it. */
export class Source {
  constructor(
    readonly storage: ReadableStorage,
    readonly root: string,
  ) {}

  /** Entries of a directory; one below the root that cannot be listed has none, and becomes part of `reports`. */
  list(path = "", reports?: FileReport[]): readonly DirectoryEntry[] {
    try {
      return this.storage.list(join(this.root, path));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (reports === undefined || code === undefined) throw error;
      const report = newFile(path, "foreign", 0);
      refused(report, code);
      reports.push(report);
      return [];
    }
  }

  exists(path: string): boolean {
    return this.storage.exists(join(this.root, path));
  }

  /** Whether a process holds the lock file of that name: false without such a file, null if it cannot be told. */
  isLocked(name: string): boolean | null {
    if (!this.list().some((entry) => entry.name === name && entry.kind === "file")) return false;
    try {
      return this.storage.isLocked(join(this.root, name));
    } catch {
      return null; // this platform, or a lock file that is not ours to read
    }
  }

  /**
   * Opens a file for `look`, and closes it. What the operating system refuses becomes part of the report, and so does a
   * file that a running engine removed in the meantime.
   */
  inspect(path: string, kind: FileKind, look: (report: FileReport, file: StorageFile) => void): FileReport {
    const report = newFile(path, kind, 0);
    let file: StorageFile | undefined;
    try {
      file = this.storage.open(join(this.root, path), "read");
      report.sizeBytes = file.sizeBytes();
      look(report, file);
    } catch (error) {
      const { code, path: failedPath } = error as NodeJS.ErrnoException;
      if (code === undefined || failedPath !== join(this.root, path)) throw error;
      refused(report, code);
    } finally {
      file?.close();
    }
    return report;
  }

  /** The same for a small file, with its content. */
  inspectSmall(path: string, kind: FileKind, look: (report: FileReport, content: Buffer) => void): FileReport {
    return this.inspect(path, kind, (report, file) => {
      if (report.sizeBytes > SMALL_FILE_LIMIT_BYTES) {
        blame(report, 0, "size", `it is ${report.sizeBytes} bytes long, which no such file is.`);
        return;
      }
      const content = Buffer.alloc(report.sizeBytes);
      look(report, content.subarray(0, file.read(content, 0, content.byteLength, 0)));
    });
  }
}

/** Notes what the operating system says to opening, listing or reading it. */
export function refused(report: FileReport, code: string): void {
  if (code === "ENOENT") report.notes.push("It was listed, and is not there any more.");
  else if (code === "EACCES" || code === "EPERM") {
    blame(report, 0, "unreadable", `it cannot be read (${code}): run this as a user who may read it.`);
  } else blame(report, 0, "unreadable", `it cannot be read (${code}).`);
}

/** The entries of a file of fixed-size entries, read a piece at a time. */
export class Entries {
  readonly count: number;
  /** What `seek` placed an entry in. */
  readonly view: DataView;
  readonly #buffer = Buffer.alloc(CHUNK_SIZE_BYTES);
  #firstLoaded = 0;
  #loadedCount = 0;

  /** @param fromBytes where the first entry begins @param untilBytes where the last ends at most */
  constructor(
    private readonly file: StorageFile,
    private readonly entrySizeBytes: number,
    private readonly fromBytes: number,
    untilBytes: number,
  ) {
    this.count = Math.max(0, Math.floor((untilBytes - fromBytes) / entrySizeBytes));
    this.view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset, this.#buffer.byteLength);
  }

  positionOf(entry: number): number {
    return this.fromBytes + entry * this.entrySizeBytes;
  }

  /** @returns where in `view` the entry begins */
  seek(entry: number): number {
    if (entry < this.#firstLoaded || entry >= this.#firstLoaded + this.#loadedCount) {
      const capacity = Math.floor(CHUNK_SIZE_BYTES / this.entrySizeBytes);
      const sizeBytes = Math.min(capacity, this.count - entry) * this.entrySizeBytes;
      this.#buffer.fill(0); // a file that shrank meanwhile reads as zeros
      this.file.read(this.#buffer, 0, sizeBytes, this.positionOf(entry));
      this.#firstLoaded = entry;
      this.#loadedCount = sizeBytes / this.entrySizeBytes;
    }
    return (entry - this.#firstLoaded) * this.entrySizeBytes;
  }

  /** How many entries there are up to the last that is not all zeros. */
  countWithoutZeroTail(): number {
    const last = lastNonZero(this.file, this.fromBytes, this.positionOf(this.count));
    return last === undefined ? 0 : Math.floor((last - this.fromBytes) / this.entrySizeBytes) + 1;
  }
}

/** Position of the last byte from `from` to before `until` that is not zero; undefined if all are. */
export function lastNonZero(file: StorageFile, from: number, until: number): number | undefined {
  const ranges: FileRange[] = [];
  for (let range = file.dataFrom(from); range !== null && range.from < until; range = file.dataFrom(range.to)) {
    ranges.push(range);
  }
  for (const range of ranges.reverse()) {
    const found = lastNonZeroIn(file, Math.max(from, range.from), Math.min(until, range.to));
    if (found !== undefined) return found;
  }
  return undefined;
}

function lastNonZeroIn(file: StorageFile, from: number, until: number): number | undefined {
  for (let end = until; end > from; ) {
    const position = Math.max(from, end - CHUNK_SIZE_BYTES);
    const chunk = SCRATCH.subarray(0, end - position);
    chunk.fill(0, file.read(chunk, 0, chunk.byteLength, position));
    if (!chunk.equals(ZEROS.subarray(0, chunk.byteLength))) {
      for (let at = chunk.byteLength - 1; ; at--) if (chunk[at] !== 0) return position + at;
    }
    end = position;
  }
  return undefined;
}

/** Of items in ascending order, the index of the last whose key is not above `key`; -1 if all are. */
export function lastIndexAtOrBelow<T>(items: readonly T[], key: number, keyOf: (item: T) => number): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keyOf(items[middle]!) <= key) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** "1 byte", "2 bytes": the plural of regular words. */
export function counted(count: number, noun: string): string {
  if (count === 1) return `1 ${noun}`;
  if (noun.endsWith("y")) return `${count} ${noun.slice(0, -1)}ies`;
  return `${count} ${noun}${noun.endsWith("ch") ? "es" : "s"}`;
}
