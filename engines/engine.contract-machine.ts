import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Driven } from "./engine.contract-driver.js";
import type { EngineDefinition } from "./engine.js";
import { DiskStorage } from "./storage/disk-storage.js";
import { FaultyStorage } from "./storage/faulty-storage.js";
import type { Storage } from "./storage/storage.js";
import { MEMORY_DIRECTORY, storageWithDirectory } from "./torture/power-cut.js";

/** Where an engine's directory is: on the real disk, or in memory. */
export interface Machine {
  readonly name: string;
  /** The engine's directory, new and empty for each test. */
  directory: string;
  storage: Storage;
  prepare(): void;
  cleanUp(): void;
  /** Everything there is besides the engine's directory, to see that an engine stays within it. */
  outside(): readonly string[];
}

export function diskMachine(): Machine {
  let parent = "";
  return {
    name: "on disk",
    directory: "",
    storage: new DiskStorage(),
    prepare() {
      parent = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-contract-"));
      this.directory = path.join(parent, "deep", "engine");
      fs.mkdirSync(this.directory, { recursive: true });
      this.storage = new DiskStorage();
    },
    cleanUp() {
      fs.rmSync(parent, { recursive: true, force: true, maxRetries: 5 });
    },
    outside() {
      return fs
        .readdirSync(parent, { recursive: true })
        .map(String)
        .filter((name) => !name.startsWith(path.join("deep", "engine")));
    },
  };
}

export function memoryMachine(): Machine {
  return {
    name: "in memory",
    directory: MEMORY_DIRECTORY,
    storage: new FaultyStorage(),
    prepare() {
      this.storage = storageWithDirectory();
    },
    cleanUp() {},
    outside() {
      const walk = (directory: string): string[] =>
        this.storage.list(directory).flatMap(({ name, kind }) => {
          const found = path.join(directory, name);
          if (found === MEMORY_DIRECTORY) return [];
          return kind === "directory" ? [found, ...walk(found)] : [found];
        });
      return walk("/");
    },
  };
}

export function open(
  definition: EngineDefinition,
  machine: Machine,
  settings: Record<string, unknown> = {},
): Promise<Driven> {
  return Driven.open(definition, { directory: machine.directory, storage: machine.storage, settings });
}

/** Lets everything through but, while holding, the ends of asynchronous syncs. */
export class SyncHoldingStorage {
  isHolding = false;
  readonly storage: Storage;
  #release: () => void = () => {};
  #released = new Promise<void>((resolve) => {
    this.#release = resolve;
  });

  constructor(inner: Storage) {
    const hold = async (synced: Promise<void>) => {
      const isHeld = this.isHolding;
      await synced;
      if (isHeld) await this.#released;
    };
    const holding = <T extends object>(target: T): T =>
      new Proxy(target, {
        get: (object, name) => {
          const member = Reflect.get(object, name) as unknown;
          if (typeof member !== "function") return member;
          return (...parameters: unknown[]) => {
            const result = member.apply(object, parameters) as unknown;
            if (name === "open" || name === "map") return holding(result as object);
            return name === "sync" ? hold(result as Promise<void>) : result;
          };
        },
      });
    this.storage = holding(inner);
  }

  release(): void {
    this.isHolding = false;
    this.#release();
  }
}
