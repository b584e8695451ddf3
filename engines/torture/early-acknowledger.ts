/**
 * An engine with the fault that torture has to find: `?fault=before-sync` acknowledges what is written and not synced
 * yet, `?fault=before-write` what is only in its buffer. Otherwise it is the raw baseline.
 */

import type { EngineDefinition, EngineListener, OpenOptions, StorageEngine } from "../engine.js";
import { loadEngine } from "../registry.js";

const fault = new URL(import.meta.url).searchParams.get("fault");
const raw = await loadEngine("raw");

async function openBeforeSync(options: OpenOptions): Promise<StorageEngine> {
  return raw.open({ ...options, settings: { ...options.settings, flush: "async" } });
}

async function openBeforeWrite(options: OpenOptions): Promise<StorageEngine> {
  const listener: EngineListener = { acknowledged: () => {}, failed: () => {} };
  const engine = await raw.open({ ...options, listener });
  const append = engine.append.bind(engine);
  engine.append = (partition, message, timestampMs) => {
    const { endOffset } = engine.partitionInfo(partition);
    const isTaken = append(partition, message, timestampMs);
    if (isTaken) options.listener.acknowledged(partition, endOffset, 1);
    return isTaken;
  };
  return engine;
}

const definition: EngineDefinition = {
  ...raw,
  name: "early-acknowledger",
  open: fault === "before-write" ? openBeforeWrite : openBeforeSync,
};

export default definition;
