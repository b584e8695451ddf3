import { join } from "node:path";
import { COMMITLOG_DIRECTORY, parseOffsetFileName } from "../commitlog/names.js";
import type { LogFile } from "./commitlog-records.js";
import { deleted, foreign } from "./partition.js";
import { blame, type FileKind, type FileReport, newFile } from "./report.js";
import { counted, refused, type Source } from "./source.js";

/** A row of files named after the byte that each begins at, as found. */
export interface FileRow {
  /** Ascending. */
  readonly files: readonly { readonly name: string; readonly baseOffset: number }[];
  /** What else is in the directory. */
  readonly others: readonly FileReport[];
}

/** Lists a directory of the commitlog or of a queue. */
export function listRow(source: Source, directory: string): FileRow {
  const files: { name: string; baseOffset: number }[] = [];
  const others: FileReport[] = [];
  for (const { name, kind } of source.list(directory, others)) {
    const baseOffset = kind === "file" ? parseOffsetFileName(name) : undefined;
    if (baseOffset !== undefined) files.push({ name, baseOffset });
    else if (kind === "file" && name.endsWith(".deleted")) others.push(deleted(source, join(directory, name)));
    else others.push(foreign(join(directory, name), kind));
  }
  return { files, others };
}

/** The commonest size, the larger of two that are as common; what a file that differs is held against. */
export function usualSize(sizes: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const size of sizes) counts.set(size, (counts.get(size) ?? 0) + 1);
  const [usual] = [...counts].sort(([a, countA], [b, countB]) => countB - countA || b - a)[0] ?? [0];
  return usual;
}

/** Says if a file is not as long as its neighbours, or does not begin where the one before ends. */
export function checkRow(reports: readonly FileReport[], baseOffsets: readonly number[], usualSizeBytes: number): void {
  for (const [i, report] of reports.entries()) {
    if (report.sizeBytes !== usualSizeBytes && !isUnread(report)) {
      const what = `it is ${counted(report.sizeBytes, "byte")} long, and the others are ${usualSizeBytes}.`;
      blame(report, Math.min(report.sizeBytes, usualSizeBytes), "size", what);
    }
    const end = i === 0 ? baseOffsets[0]! : baseOffsets[i - 1]! + usualSizeBytes;
    if (baseOffsets[i] === end) continue;
    const kind = baseOffsets[i]! > end ? "gap" : "overlap";
    blame(report, 0, kind, `it begins at byte ${baseOffsets[i]} by its name, and the file before it ends at ${end}.`);
  }
}

function isUnread({ sizeBytes, damage, notes }: FileReport): boolean {
  return sizeBytes === 0 && (damage?.kind === "unreadable" || notes.length > 0);
}

/** The open files of a commitlog. */
export interface OpenLog {
  readonly files: readonly LogFile[];
  /** Of those files, in their order. */
  readonly reports: readonly FileReport[];
  /** Of what else is there. */
  readonly others: readonly FileReport[];
  close(): void;
}

/** Opens those files of `commitlog/` that can be read. @param only name of one of them, to leave the others alone */
export function openLog(source: Source, inUse: boolean, directory = COMMITLOG_DIRECTORY, only?: string): OpenLog {
  const { files: row, others: foreignFiles } = listRow(source, directory);
  const others = [...foreignFiles];
  const opened: { report: FileReport; path: string; baseOffset: number; file: LogFile["file"] }[] = [];
  for (const { name, baseOffset } of row) {
    if (only !== undefined && name !== only) continue;
    const path = join(directory, name);
    const report = newFile(path, "commitlog-file" satisfies FileKind, 0);
    try {
      const file = source.storage.open(join(source.root, path), "read");
      opened.push({ report, path, baseOffset, file });
      report.sizeBytes = file.sizeBytes();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      refused(report, code);
      others.push(report);
    }
  }
  const last = opened.at(-1);
  if (last !== undefined && last.report.sizeBytes === 0 && only === undefined) {
    if (!inUse)
      blame(
        last.report,
        0,
        "leftover",
        "it is empty: a crash came while it was made; opening the directory removes it.",
      );
    opened.pop();
    last.file.close();
    others.push(last.report);
  }
  const usualSizeBytes = usualSize(opened.map(({ report }) => report.sizeBytes));
  checkRow(
    opened.map(({ report }) => report),
    opened.map(({ baseOffset }) => baseOffset),
    usualSizeBytes,
  );
  return {
    files: opened.map(({ path, file, baseOffset }, i) => {
      const next = opened[i + 1]?.baseOffset ?? Number.POSITIVE_INFINITY;
      return { path, file, baseOffset, endOffset: Math.min(baseOffset + usualSizeBytes, next) };
    }),
    reports: opened.map(({ report }) => report),
    others,
    close: () => {
      for (const { file } of opened) file.close();
    },
  };
}
