import { OpenError } from "../errors.js";
import type { Heap } from "../heap.js";
import type { Storage } from "../storage/storage.js";
import { type CleanShutdown, removeCleanShutdown } from "./clean-shutdown.js";
import { encodeLostPart } from "./lost-part.js";
import { MappedFile, type WindowGeometry } from "./mapped-file.js";
import { COMMITLOG_DIRECTORY, offsetFileName, parseOffsetFileName } from "./names.js";
import { checkOpenFiles } from "./open-files.js";
import { readUnfinishedMend, writeUnfinishedMend } from "./unfinished-mend.js";

/** More missing files than this are a stray file with the name of a far one, rather than a loss. */
const MOST_MISSING_FILES = 1_000;
const SMALLEST_FILE_BYTES = 1_024;

export interface LogRowOptions {
  readonly storage: Storage;
  readonly heap: Heap;
  readonly root: string;
  readonly fileSizeBytes: number;
  readonly geometry: WindowGeometry;
  readonly preallocate: boolean;
  readonly hasAbort: boolean;
  /** As a clean shutdown left it, if one did. */
  readonly shutdown: CleanShutdown | undefined;
}

export interface LogRow {
  /** Ascending and adjacent, each of its full size. */
  readonly files: MappedFile[];
  /** Where files end that are not the last and had lost their end: messages up to there are missing. */
  readonly cutShort: ReadonlySet<number>;
  /** Something was lost, so that nothing that describes the directory as it was may be believed. */
  readonly hasLost: boolean;
  readonly droppedFiles: number;
  readonly repairs: readonly string[];
}

/**
 * Opens the commitlog's files and makes a row of full-size files of them again, so that every position keeps its place:
 *
 *   a file is missing between others    made again, sparse, as one lost part (lost-part.ts)
 *   a file before the last is short     extended by zeros; once the scan has found where its messages end, the rest of
 *                                       it becomes a lost part
 *   the last file is short              extended; the log is cut where its messages end
 *   a file is longer than its size      cut to it: nothing of the log can be there
 *
 * So what is sound before and behind is kept and read, and a fetch of what is lost says so. Which files are mended is noted
 * first (unfinished-mend.ts), as one that a crash left full of zeros would end the log. RocketMQ refuses a directory
 * with a file of another size and leaves a missing one missing; a row mended so it loads, and steps over lost parts.
 *
 * Refused, because it may as well be sound under another `segmentSizeBytes`: positions that are no multiples of the size,
 * and files of which none has the size and no two lie that far apart; also a closed log's only file that is short and
 * holds all that the clean shutdown says.
 *
 * @throws OpenError
 */
export function openLogRow(options: LogRowOptions): LogRow {
  const row = new LogRowBuilder(options);
  try {
    row.open();
    row.mend();
    return row;
  } catch (error) {
    for (const file of row.files) file.close();
    throw error;
  }
}

class LogRowBuilder implements LogRow {
  files: MappedFile[] = [];
  readonly cutShort = new Set<number>();
  hasLost = false;
  droppedFiles = 0;
  readonly repairs: string[] = [];
  readonly #directory: string;

  constructor(private readonly options: LogRowOptions) {
    this.#directory = `${options.root}/${COMMITLOG_DIRECTORY}`;
  }

  open(): void {
    const { storage, heap, geometry, fileSizeBytes } = this.options;
    for (const { name, kind } of storage.list(this.#directory)) {
      if (kind === "directory") continue;
      const path = `${this.#directory}/${name}`;
      const baseOffset = parseOffsetFileName(name);
      if (baseOffset === undefined) {
        throw new OpenError(`${path} is no commitlog file, and RocketMQ would refuse the directory too. Move it away.`);
      }
      this.files.push(MappedFile.open(storage, heap, geometry, path, baseOffset, fileSizeBytes));
    }
  }

  mend(): void {
    this.#dropEmptyEnd();
    if (this.files.length === 0) return;
    this.#checkSize();
    const last = this.files.at(-1)!;
    this.#noteMend(last);
    for (const file of this.files) {
      const storedBytes = file.storedSizeBytes();
      if (storedBytes > file.sizeBytes) this.#cutToSize(file, storedBytes);
      else if (storedBytes < file.sizeBytes && file === last) this.#extendLast(file, storedBytes);
      else if (storedBytes < file.sizeBytes) this.#extend(file, storedBytes);
    }
    this.#fillGaps();
  }

  /** A crash while a file is made leaves it short and without a byte that is not zero. */
  #dropEmptyEnd(): void {
    for (let file = this.files.at(-1); file !== undefined; file = this.files.at(-1)) {
      const storedBytes = file.storedSizeBytes();
      if (storedBytes >= file.sizeBytes || !file.isZero(file.baseOffset, storedBytes)) return;
      this.files.pop();
      file.remove();
      this.options.storage.syncDirectory(this.#directory); // so that a crash leaves no gap in the row
      this.droppedFiles++;
      this.repairs.push(`${file.path}: ${storedBytes} zero bytes, as a crash while it was made leaves it; deleted.`);
    }
  }

  /** @throws OpenError if the files may be sound and of another size than configured */
  #checkSize(): void {
    const { files } = this;
    const { fileSizeBytes, hasAbort, shutdown } = this.options;
    const odd = files.find((file) => file.storedSizeBytes() !== fileSizeBytes);
    const displaced = files.find(({ baseOffset }) => baseOffset % fileSizeBytes !== 0);
    const isProven = files.some(
      (file, i) => file.storedSizeBytes() === fileSizeBytes || files[i + 1]?.baseOffset === file.endOffset,
    );
    if (displaced === undefined && isProven) return;
    if (displaced === undefined && files.length === 1 && odd!.storedSizeBytes() < fileSizeBytes) {
      const end = odd!.baseOffset + odd!.storedSizeBytes();
      const isWhole = shutdown !== undefined && shutdown.logEndOffset <= end;
      if (hasAbort || !isWhole || odd!.storedSizeBytes() < SMALLEST_FILE_BYTES) return;
    }
    if (odd !== undefined) {
      const storedBytes = odd.storedSizeBytes();
      throw new OpenError(
        `${odd.path} has ${storedBytes} bytes, but files of ${fileSizeBytes} are configured. Open the directory with segmentSizeBytes ${storedBytes}, or restore the file.`,
      );
    }
    throw new OpenError(
      `${displaced!.path} begins at no multiple of ${fileSizeBytes} bytes, the configured segmentSizeBytes. Open the directory with the size that it was written with, or move the file away.`,
    );
  }

  /** Takes up what an interrupted opening was about to mend, and notes what this one is. */
  #noteMend(last: MappedFile): void {
    const { storage, root, fileSizeBytes } = this.options;
    const noted = readUnfinishedMend(storage, root);
    const ends = new Set(noted.filter((end) => end > this.files[0]!.baseOffset && end < last.endOffset));
    if (ends.size > 0) this.#noteLoss();
    for (const end of ends) this.cutShort.add(end);
    for (const [i, file] of this.files.entries()) {
      if (file === last) break;
      if (file.storedSizeBytes() < file.sizeBytes) ends.add(file.endOffset);
      const next = this.files[i + 1]!.baseOffset;
      const gapEnd = Math.min(next, file.endOffset + MOST_MISSING_FILES * fileSizeBytes);
      for (let end = file.endOffset + fileSizeBytes; end <= gapEnd; end += fileSizeBytes) ends.add(end);
    }
    if (ends.size > 0 && ends.size <= MOST_MISSING_FILES) writeUnfinishedMend(storage, root, [...ends]);
  }

  #cutToSize(file: MappedFile, storedBytes: number): void {
    file.cutToSize();
    this.repairs.push(
      `${file.path}: ${storedBytes} bytes where ${file.sizeBytes} belong; the ${storedBytes - file.sizeBytes} behind them cut.`,
    );
  }

  /** The log is cut where it ends, as after any crash. Without one something else has cut it. */
  #extendLast(file: MappedFile, storedBytes: number): void {
    if (!this.options.hasAbort) {
      this.#noteLoss();
      this.repairs.push(`${file.path}: cut short to ${storedBytes} bytes; extended again, and the whole log scanned.`);
    }
    // Recovery cuts the last file and extends it again: a crash in between leaves it cut.
    file.zeroFrom(file.baseOffset + storedBytes, this.options.preallocate);
  }

  #extend(file: MappedFile, storedBytes: number): void {
    this.#noteLoss();
    file.zeroFrom(file.baseOffset + storedBytes, false);
    this.cutShort.add(file.endOffset);
    this.repairs.push(
      `${file.path}: cut short to ${storedBytes} bytes; extended again, its messages from there on are lost, and the whole log scanned.`,
    );
  }

  /** Makes the files that are missing between others. */
  #fillGaps(): void {
    const { storage, heap, geometry, fileSizeBytes } = this.options;
    const last = this.files.at(-1)!;
    const missing = (last.endOffset - this.files[0]!.baseOffset) / fileSizeBytes - this.files.length;
    if (missing === 0) return;
    const gap = this.files.findIndex((file, i) => this.files[i + 1]?.baseOffset !== file.endOffset);
    if (missing > MOST_MISSING_FILES) {
      const { path } = this.files[gap + 1]!;
      throw new OpenError(
        `${path} does not follow the file before it: ${missing} files are missing, the first begins at byte ${this.files[gap]!.endOffset}. Restore them, or move the files behind them away.`,
      );
    }
    checkOpenFiles(storage, this.files.length + missing, 0);
    this.#noteLoss();
    for (let i = gap; i + 1 < this.files.length; i++) {
      const baseOffset = this.files[i]!.endOffset;
      if (this.files[i + 1]!.baseOffset === baseOffset) continue;
      const path = `${this.#directory}/${offsetFileName(baseOffset)}`;
      const file = MappedFile.create(storage, heap, geometry, path, baseOffset, fileSizeBytes, false);
      this.files.splice(i + 1, 0, file);
      const header = encodeLostPart(fileSizeBytes);
      file.write(header, 0, header.length, baseOffset);
      file.syncNow();
      this.repairs.push(
        `${path}: missing; made again without messages, so that those behind it keep their places, and the whole log scanned.`,
      );
    }
    storage.syncDirectory(this.#directory);
  }

  /** What describes the files as they were would be believed once their sizes are right again. */
  #noteLoss(): void {
    if (this.hasLost) return;
    this.hasLost = true;
    const { storage, root } = this.options;
    removeCleanShutdown(storage, root);
    storage.syncDirectory(root);
  }
}
