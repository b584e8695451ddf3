import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { commitlog } from "../commitlog/index.js";
import { type EngineDefinition, Message, type StorageEngine } from "../engine.js";
import { heap } from "../heap.js";
import { partitionedLog } from "../partitioned-log/index.js";
import { DiskStorage } from "../storage/disk-storage.js";
import { inspect } from "./inspect.js";
import type { BatchLine, Damage, InspectionReport } from "./report.js";

export const START_MS = 1_700_000_000_000;
const TOPICS = ["orders", "pay-ments"];
export const MESSAGES_PER_PARTITION = 60;

/** Directories of one test file; the caller removes them in the end. */
export class Workspace {
  readonly root = mkdtempSync(join(tmpdir(), "logduel-inspect-"));
  #count = 0;

  path(): string {
    return join(this.root, `d${this.#count++}`);
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Two topics of two partitions, several segments each, all batches of five messages. */
export function writePartitionedLog(directory: string, settings: Record<string, unknown> = {}): Promise<StorageEngine> {
  const small = { segmentSizeBytes: 4_000, indexIntervalBytes: 400, batchSizeBytes: 2_000, ...settings };
  return write(partitionedLog, directory, small);
}

const SMALL_FILES = {
  segmentSizeBytes: 16_384,
  consumequeueFileSizeBytes: 800,
  keyIndexSlots: 25,
  keyIndexItems: 100,
};

/** Two topics of two queues, several files of each kind. */
export function writeCommitlog(directory: string, settings: Record<string, unknown> = {}): Promise<StorageEngine> {
  return write(commitlog, directory, { ...SMALL_FILES, ...settings });
}

/** Opens what `writeCommitlog` wrote again. */
export function openCommitlog(directory: string): Promise<StorageEngine> {
  return open(commitlog, directory, SMALL_FILES);
}

function open(
  definition: EngineDefinition,
  directory: string,
  settings: Record<string, unknown>,
): Promise<StorageEngine> {
  return definition.open({
    directory,
    storage: new DiskStorage(),
    heap,
    settings,
    listener: {
      acknowledged: () => {},
      failed: (_partition, _count, error) => {
        throw error;
      },
    },
  });
}

/** @returns the engine, flushed and open */
async function write(
  definition: EngineDefinition,
  directory: string,
  settings: Record<string, unknown>,
): Promise<StorageEngine> {
  const engine = await open(definition, directory, settings);
  for (const topic of TOPICS) {
    for (const partition of await engine.createTopic(topic, 2)) {
      for (let i = 0; i < MESSAGES_PER_PARTITION; i++) {
        const tags = { key: "TAGS", value: Buffer.from(`tag-${i % 3}`) };
        const message = new Message(heap, Buffer.alloc(100, `${topic} ${i};`), Buffer.from(`key-${i}`), [tags]);
        while (!engine.append(partition, message, START_MS + i)) engine.poll();
        if (i % 5 === 4) engine.poll();
      }
      engine.poll();
    }
  }
  await engine.flush();
  return engine;
}

export interface Inspected {
  readonly report: InspectionReport;
  readonly batches: readonly BatchLine[];
}

export function look(path: string, options: { topic?: string; isQuick?: boolean } = {}): Inspected {
  const batches: BatchLine[] = [];
  const { topic = null, isQuick = false } = options;
  const onBatch = (line: BatchLine) => batches.push(line);
  return { report: inspect(new DiskStorage(), path, { heap, topic, isQuick, onBatch }), batches };
}

export function damageOf(path: string): readonly Damage[] {
  return look(path).report.damage;
}

/** All that could change below a directory: names, sizes, content, times. */
export function fingerprint(directory: string): string {
  const hash = createHash("sha256");
  for (const name of ["", ...(readdirSync(directory, { recursive: true }) as string[]).sort()]) {
    const path = join(directory, name);
    const { mtimeNs, ctimeNs, size, mode, ino } = statSync(path, { bigint: true });
    hash.update([name, mtimeNs, ctimeNs, size, mode, ino].join("|"));
    if (statSync(path).isFile()) hash.update(readFileSync(path));
  }
  return hash.digest("hex");
}

/** Rewrites a file with what `edit` returns, or leaves of its bytes. */
export function change(path: string, edit: (bytes: Buffer) => Buffer | undefined): void {
  const bytes = readFileSync(path);
  writeFileSync(path, edit(bytes) ?? bytes);
}

export function flip(bytes: Buffer, at: number, mask: number): undefined {
  bytes.writeUInt8(bytes.readUInt8(at) ^ mask, at);
}
