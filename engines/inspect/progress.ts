import { printable } from "../printable.js";
import type { StorageFile } from "../storage/storage.js";
import type { ReadableStorage } from "./source.js";
import { bytesText } from "./text.js";

/** Short inspections say nothing. */
const FIRST_MS = 2_000;
const TERMINAL_INTERVAL_MS = 1_000;
const LOG_INTERVAL_MS = 30_000;
const ERASE_LINE = "\r\u001b[K";

/** Tells on `stream` how far a long inspection is: one line that changes on a terminal, else a line now and then. */
export class Progress {
  #readBytes = 0;
  #dueMs: number;
  #hasLine = false;

  constructor(
    private readonly stream: { readonly isTTY: boolean; write(text: string): void },
    private readonly nowMs: () => number = () => performance.now(),
  ) {
    this.#dueMs = nowMs() + (stream.isTTY ? FIRST_MS : LOG_INTERVAL_MS);
  }

  /** The same storage, whose reads are told of. */
  watch(storage: ReadableStorage): ReadableStorage {
    return {
      open: (path, mode) => this.#watchFile(storage.open(path, mode)),
      exists: (path) => storage.exists(path),
      list: (path) => storage.list(path),
      readAll: (path) => storage.readAll(path),
      isLocked: (path) => storage.isLocked(path),
    };
  }

  /** Takes the line away: the result follows. */
  end(): void {
    if (this.#hasLine) this.#write(ERASE_LINE);
    this.#hasLine = false;
  }

  #watchFile(file: StorageFile): StorageFile {
    const read = file.read.bind(file);
    file.read = (target, at, sizeBytes, positionBytes) => {
      const readBytes = read(target, at, sizeBytes, positionBytes);
      this.#readBytes += readBytes;
      if (this.nowMs() >= this.#dueMs) this.#tell(file, positionBytes);
      return readBytes;
    };
    return file;
  }

  #tell(file: StorageFile, positionBytes: number): void {
    const { isTTY } = this.stream;
    this.#dueMs = this.nowMs() + (isTTY ? TERMINAL_INTERVAL_MS : LOG_INTERVAL_MS);
    const where = `at byte ${positionBytes} of ${file.sizeBytes()} in ${printable(file.path)}`;
    const line = `${bytesText(this.#readBytes)} read, now ${where}`;
    this.#write(isTTY ? `${ERASE_LINE}${line}` : `${line}\n`);
    this.#hasLine = isTTY;
  }

  /** Nobody may be listening (a closed or a full pipe): the inspection does not depend on it. */
  #write(text: string): void {
    try {
      this.stream.write(text);
    } catch {}
  }
}
