/**
 * An engine with a fault planted in it: what the gate's self-test and tests measure instead of hoping. It is any engine of
 * the registry behind a thin shell, loaded by path like a third party's:
 *
 *   --engine dist/runners/gate/planted-engine.js --set engine=commitlog --set plant.burnIterations=300
 *
 * With no fault planted the shell is still there, so a reference of the same module pays for it too.
 */
import { z } from "zod";
import type { EngineDefinition, Message, OpenOptions, PartitionHandle, StorageEngine } from "../../engines/engine.js";
import { loadEngine } from "../../engines/registry.js";

type Storage = OpenOptions["storage"];
type StorageFile = ReturnType<Storage["open"]>;

const plantSchema = z.strictObject({
  /** Turns of a loop of integer arithmetic for each message: CPU time, and nothing else. */
  burnIterations: z.int().nonnegative().default(0),
  /** Copies each message once more. */
  copies: z.boolean().default(false),
  /** Computes a checksum of each message so many times more, in plain JavaScript. */
  checksums: z.int().nonnegative().default(0),
  /** Repeats each write to a file. */
  writes: z.boolean().default(false),
  /** Syncs the file last opened after each so many messages. */
  syncEvery: z.int().nonnegative().default(0),
  /** Lets each asynchronous sync, of a file or of a mapping, take longer. */
  syncDelayMs: z.number().nonnegative().default(0),
  /** Loses the n-th write to a file, and says that it was written. */
  dropWrite: z.int().nonnegative().default(0),
});

type Plant = z.infer<typeof plantSchema>;

const settingsSchema = z.looseObject({
  /** Name in the registry of the engine inside; the other settings are that engine's. */
  engine: z.string().default("partitioned-log"),
  plant: plantSchema.prefault({}),
});

const plantedEngine: EngineDefinition = {
  name: "planted",
  description: "An engine of the registry with a fault planted in it, to test the gate with.",
  settingsSchema,
  storesMessages: true,
  async open(options) {
    const { engine: name, plant, ...settings } = settingsSchema.parse(options.settings);
    const definition = await loadEngine(name);
    const files = new PlantedFiles(plant);
    const inner = await definition.open({ ...options, settings, storage: files.wrap(options.storage) });
    return new PlantedEngine(inner, plant, files);
  },
};
export default plantedEngine;

class PlantedEngine implements StorageEngine {
  #appendedCount = 0;
  /** Read by nobody else; it keeps the compiler from dropping the work. */
  #residue = 0;

  constructor(
    readonly inner: StorageEngine,
    readonly plant: Plant,
    readonly files: PlantedFiles,
  ) {}

  append(partition: PartitionHandle, message: Message, timestampMs: number): boolean {
    if (!this.inner.append(partition, message, timestampMs)) return false;
    const { plant } = this;
    this.#appendedCount++;
    if (plant.burnIterations > 0) this.#residue = burn(plant.burnIterations, this.#residue);
    if (plant.copies) this.#residue ^= message.value!.slice()[0]!;
    for (let again = 0; again < plant.checksums; again++) this.#residue ^= crc32c(message.value!);
    if (plant.syncEvery > 0 && this.#appendedCount % plant.syncEvery === 0) this.files.syncLast();
    return true;
  }

  get durability() {
    return this.inner.durability;
  }
  get recovery() {
    return this.inner.recovery;
  }
  createTopic(topic: string, partitionCount: number) {
    return this.inner.createTopic(topic, partitionCount);
  }
  partitions() {
    return this.inner.partitions();
  }
  partitionInfo(partition: PartitionHandle) {
    return this.inner.partitionInfo(partition);
  }
  poll() {
    this.inner.poll();
  }
  flush() {
    return this.inner.flush();
  }
  fetch(...parameters: Parameters<StorageEngine["fetch"]>) {
    return this.inner.fetch(...parameters);
  }
  counters() {
    return this.inner.counters();
  }
  close() {
    return this.inner.close();
  }
}

/** The storage of the engine inside, with faults in its files. */
class PlantedFiles {
  /** Open for writing, the last opened last. */
  readonly #files = new Set<StorageFile>();
  #writeCount = 0;

  constructor(readonly plant: Plant) {}

  syncLast(): void {
    [...this.#files].at(-1)?.syncNow();
  }

  /** Everything passes through, but for the files opened for writing. */
  wrap(storage: Storage): Storage {
    return new Proxy(storage, {
      get: (target, name) => {
        if (name === "open") return (...parameters: Parameters<Storage["open"]>) => this.#open(target, ...parameters);
        const member = Reflect.get(target, name) as unknown;
        return typeof member === "function" ? member.bind(target) : member;
      },
    });
  }

  #open(storage: Storage, ...parameters: Parameters<Storage["open"]>): StorageFile {
    const file = storage.open(...parameters);
    if (parameters[1] === "read") return file;
    const { plant } = this;
    const write = file.write.bind(file);
    file.write = (...bytes) => {
      this.#writeCount++;
      if (this.#writeCount === plant.dropWrite) return;
      write(...bytes);
      if (plant.writes) write(...bytes);
    };
    if (plant.syncDelayMs > 0) {
      delaySyncs(file, plant.syncDelayMs);
      const map = file.map.bind(file);
      file.map = (...window) => {
        const region = map(...window);
        delaySyncs(region, plant.syncDelayMs);
        return region;
      };
    }
    const close = file.close.bind(file);
    file.close = () => {
      this.#files.delete(file);
      close();
    };
    this.#files.add(file);
    return file;
  }
}

function delaySyncs<T extends unknown[]>(synced: { sync(...part: T): Promise<void> }, delayMs: number): void {
  const sync = synced.sync.bind(synced);
  synced.sync = async (...part) => {
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    await sync(...part);
  };
}

/** Always the same work for the same number, whatever the clock says. */
export function burn(iterations: number, start: number): number {
  let value = start | 1;
  for (let turn = 0; turn < iterations; turn++) value = (Math.imul(value, 1664525) + 1013904223) | 0;
  return value;
}

const CRC32C_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

function crc32c(bytes: Uint8Array): number {
  let value = -1;
  for (let at = 0; at < bytes.length; at++) value = (value >>> 8) ^ CRC32C_TABLE[(value ^ bytes[at]!) & 0xff]!;
  return ~value;
}
