import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { EngineDefinition } from "./engine.js";
import { EngineLoadError } from "./errors.js";

// What a runner needs besides an engine; it imports nothing of `engines/` but this file and engine.ts.
export { checksumProviders } from "./codec/checksums.js";
export { EngineLoadError } from "./errors.js";
export { heap } from "./heap.js";
export { DiskStorage } from "./storage/disk-storage.js";

/** Loaded when asked for, so that a trial loads one engine only. */
const ENGINES: Readonly<Record<string, () => Promise<EngineDefinition>>> = {
  "partitioned-log": async () => (await import("./partitioned-log/index.js")).partitionedLog,
  commitlog: async () => (await import("./commitlog/index.js")).commitlog,
  null: async () => (await import("./baseline/null.js")).nullEngine,
  raw: async () => (await import("./baseline/raw.js")).rawEngine,
};

const NAME_PATTERN = /^[a-z][a-z0-9-]{0,63}$/;

/** Names of the engines that come with this project. */
export function engineNames(): readonly string[] {
  return Object.keys(ENGINES);
}

/**
 * Loads an engine by name, or a third party's by path: a module (`./mine.js`, `/opt/mine.js`, `file:…`; relative to the
 * working directory) whose default export is an `EngineDefinition`.
 * @throws EngineLoadError that lists the names there are, or tells what the module lacks
 */
export async function loadEngine(nameOrPath: string): Promise<EngineDefinition> {
  if (Object.hasOwn(ENGINES, nameOrPath)) return ENGINES[nameOrPath]!();
  if (/^(\.{0,2}\/|file:)/.test(nameOrPath)) return loadModule(nameOrPath);
  throw new EngineLoadError(
    `There is no engine called ${JSON.stringify(nameOrPath)}. There are ${engineNames().join(", ")}; a module of your own is given by its path, as ./engine.js.`,
  );
}

async function loadModule(path: string): Promise<EngineDefinition> {
  const url = path.startsWith("file:") ? path : pathToFileURL(resolve(path)).href;
  let loaded: { default?: unknown };
  try {
    loaded = await import(url);
  } catch (cause) {
    throw new EngineLoadError(
      `The engine module ${path} could not be loaded: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  const lack = whatIsLacking(loaded.default);
  if (lack !== null) throw new EngineLoadError(`The engine module ${path} ${lack}.`);
  return loaded.default as EngineDefinition;
}

/** Null when it is an engine definition; else the predicate of a sentence. */
function whatIsLacking(candidate: unknown): string | null {
  if (typeof candidate !== "object" || candidate === null) return "has no default export that is an engine definition";
  const { name, description, settingsSchema, storesMessages, open } = candidate as Record<string, unknown>;
  if (typeof name !== "string" || !NAME_PATTERN.test(name)) {
    return "has no usable name: take a-z, 0-9 and hyphens, a letter first, 64 characters at most";
  }
  if (Object.hasOwn(ENGINES, name))
    return `calls itself ${name}, which is an engine of this project: take another name`;
  if (typeof description !== "string") return "has no description, which is a sentence";
  if (typeof (settingsSchema as { safeParse?: unknown } | undefined)?.safeParse !== "function") {
    return "has no settingsSchema, which is a zod schema";
  }
  if (typeof storesMessages !== "boolean") return "does not say whether it storesMessages: true or false";
  if (typeof open !== "function") return "has no function open";
  return null;
}
