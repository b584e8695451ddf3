/**
 * A third party's engine for the harness's tests: small, honest, and faulty on request, as `file:…/test-engine.js?fault=drops`.
 * It keeps messages in one file of records (partition u32 BE, size u32 BE, value) and rereads all of it to fetch.
 */
import { spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import {
  type EngineCounters,
  type EngineDefinition,
  type FetchOutcome,
  type Message,
  type MessageVisitor,
  type OpenOptions,
  type PartitionHandle,
  type PartitionInfo,
  type RecoveryReport,
  STAGE_BROKER,
  STAGE_PRODUCER,
  type StorageEngine,
} from "../engines/engine.js";

/** From this append on a fault shows. */
const FAULT_AT = 50;
const HEADER_SIZE_BYTES = 4 + 4;
/** Kept for each message by an engine that leaks. */
const LEAK_BYTES = 262_144;
const SLEEP = new Int32Array(new SharedArrayBuffer(4));
const { searchParams } = new URL(import.meta.url);
const fault = searchParams.get("fault") ?? "none";
/** Where an engine that spawns or hangs leaves a process id. */
const note = searchParams.get("note");

class TestEngine implements StorageEngine {
  readonly durability = fault === "lies" ? "D2" : "D1";
  readonly recovery: RecoveryReport = {
    wasCleanShutdown: true,
    durationMs: 0,
    scannedBytes: 0,
    truncatedBytes: 0,
    rebuiltIndexes: 0,
    droppedFiles: 0,
    repairs: [],
  };
  readonly #options: OpenOptions;
  readonly #file: ReturnType<OpenOptions["storage"]["open"]>;
  #sizeBytes: number;
  readonly #partitions: PartitionInfo[] = [];
  readonly #messages: Uint8Array[][] = [];
  readonly #acknowledged: number[] = [];
  #appendCount = 0;
  /** Acknowledged and not yet written. */
  readonly #hoard: { partition: PartitionHandle; value: Uint8Array }[] = [];
  readonly #leaked: Uint8Array[] = [];
  /** One that dawdles acknowledges nothing before. */
  #isFlushing = false;
  #heldBack: { partition: PartitionHandle; value: Uint8Array } | null = null;

  constructor(options: OpenOptions) {
    this.#options = options;
    const path = join(options.directory, "records");
    this.#file = options.storage.open(path, options.storage.exists(path) ? "write" : "create");
    const stored = options.storage.readAll(path);
    this.#sizeBytes = stored.byteLength;
    const view = new DataView(stored.buffer, stored.byteOffset, stored.byteLength);
    for (let at = 0; at < stored.byteLength; ) {
      const size = view.getUint32(at + 4);
      const value = stored.subarray(at + HEADER_SIZE_BYTES, at + HEADER_SIZE_BYTES + size);
      this.#of(view.getUint32(at)).push(value);
      at += HEADER_SIZE_BYTES + size;
    }
  }

  async createTopic(topic: string, partitionCount: number): Promise<readonly PartitionHandle[]> {
    const handles: PartitionHandle[] = [];
    for (let index = 0; index < partitionCount; index++) {
      const handle = this.#partitions.length;
      this.#partitions.push({ handle, topic, index, startOffset: 0, endOffset: 0 });
      this.#acknowledged[handle] = this.#of(handle).length;
      handles.push(handle);
    }
    return handles;
  }

  partitions(): readonly PartitionInfo[] {
    return this.#partitions.map(({ handle }) => this.partitionInfo(handle));
  }

  partitionInfo(partition: PartitionHandle): PartitionInfo {
    return { ...this.#partitions[partition]!, endOffset: this.#of(partition).length };
  }

  append(partition: PartitionHandle, { value }: Message, _timestampMs: number): boolean {
    const isFaulty = ++this.#appendCount === FAULT_AT;
    if (isFaulty && fault === "throws") throw new Error("the append failed on purpose\u001b[31m");
    if (isFaulty && fault === "hangs") hang();
    if (isFaulty && fault === "unmarks") rmSync(join(dirname(this.#options.directory), ".made-by-logduel"));
    if (isFaulty && fault === "razes") rmSync(dirname(this.#options.directory), { recursive: true });
    if (isFaulty && fault === "litters") writeFileSync(join(dirname(this.#options.directory), "litter"), "");
    if (isFaulty && fault === "spawns") {
      const { pid } = spawn("sleep", ["600"], { stdio: "inherit" });
      writeFileSync(note!, String(pid));
    }
    if (isFaulty && fault === "crashes") process.abort();
    if (isFaulty && fault === "exits") {
      process.stderr.write("at first\nRangeError: out of luck.\n    at nowhere\n\nNode.js v0\n");
      process.exit(3);
    }
    const bytes = Uint8Array.from(value!);
    if (fault === "leaks") this.#leaked.push(new Uint8Array(LEAK_BYTES).fill(1));
    if (fault === "hoards") {
      this.#of(partition).push(bytes);
      this.#hoard.push({ partition, value: bytes });
      return true;
    }
    if (isFaulty && fault === "corrupts") bytes[bytes.length - 1]! ^= 1;
    if (isFaulty && fault === "reorders") {
      this.#heldBack = { partition, value: bytes };
    } else {
      this.#write(partition, bytes, !(isFaulty && fault === "drops"));
      if (isFaulty && fault === "duplicates") this.#write(partition, bytes, true);
      if (this.#heldBack !== null && this.#heldBack.partition === partition) {
        this.#write(partition, this.#heldBack.value, true);
        this.#heldBack = null;
      }
    }
    return true;
  }

  poll(): void {
    if (fault === "dwells") this.#dwell();
    if (fault === "dawdles" && !this.#isFlushing) return;
    if (fault === "wanders" && performance.now() % 60 < 30) Atomics.wait(SLEEP, 0, 0, 5);
    for (const { handle } of this.#partitions) {
      const done = this.#acknowledged[handle]!;
      const count = this.#of(handle).length - done - (fault === "duplicates" && this.#isPastFault(handle) ? 1 : 0);
      if (count <= 0) continue;
      this.#acknowledged[handle] = done + count;
      this.#options.listener.acknowledged(handle, done, count);
    }
  }

  async flush(): Promise<void> {
    this.#isFlushing = true;
    this.poll();
    this.#isFlushing = false;
    for (const { partition, value } of this.#hoard.splice(0)) this.#writeRecord(partition, value);
    if (fault === "never-flushes") await new Promise(() => {});
    await this.#file.sync();
  }

  async fetch(
    partition: PartitionHandle,
    fromOffset: number,
    _maxBytes: number,
    visit: MessageVisitor,
  ): Promise<FetchOutcome> {
    if (fault === "hangs-reading") hang();
    const values = this.#of(partition);
    for (let offset = fromOffset; offset < values.length; offset++) {
      visit({ offset, timestampMs: 0, key: null, value: values[offset]!, headers: [] });
    }
    return { nextOffset: values.length, messageCount: values.length - fromOffset, sizeBytes: 0 };
  }

  counters(): EngineCounters {
    const acknowledgedMessages = this.#acknowledged.reduce((sum, count) => sum + count, 0);
    return {
      ...this.#options.storage.counters,
      appendedMessages: this.#appendCount,
      acknowledgedMessages,
      batches: fault === "miscounts" ? Number.NaN : this.#appendCount,
      logBytes: this.#sizeBytes,
      indexEntries: 0,
      indexBytes: 0,
      filesRolled: 0,
    };
  }

  async close(): Promise<void> {
    this.#file.close();
  }

  /** Long enough at a broker's work to be seen at it. */
  #dwell(): void {
    const { stage } = this.#options;
    if (stage === undefined) return;
    stage[0] = STAGE_BROKER;
    Atomics.wait(SLEEP, 0, 0, 30);
    stage[0] = STAGE_PRODUCER;
  }

  #of(partition: PartitionHandle): Uint8Array[] {
    this.#messages[partition] ??= [];
    return this.#messages[partition];
  }

  #isPastFault(partition: PartitionHandle): boolean {
    return this.#appendCount >= FAULT_AT && partition === (FAULT_AT - 1) % this.#partitions.length;
  }

  #write(partition: PartitionHandle, value: Uint8Array, isStored: boolean): void {
    this.#of(partition).push(value);
    if (isStored) this.#writeRecord(partition, value);
  }

  #writeRecord(partition: PartitionHandle, value: Uint8Array): void {
    const record = new Uint8Array(HEADER_SIZE_BYTES + value.byteLength);
    const view = new DataView(record.buffer);
    view.setUint32(0, partition);
    view.setUint32(4, value.byteLength);
    record.set(value, HEADER_SIZE_BYTES);
    this.#file.write(record, 0, record.byteLength, this.#sizeBytes);
    this.#sizeBytes += record.byteLength;
  }
}

/** Says who hangs, and never comes back. */
function hang(): never {
  if (note !== null) writeFileSync(note, String(process.pid));
  for (;;);
}

const definition: EngineDefinition = {
  name: "test-engine",
  description: "For the harness's tests.",
  settingsSchema: z.record(z.string(), z.unknown()),
  storesMessages: true,
  async open(options) {
    return new TestEngine(options);
  },
};

export default definition;
