import { join } from "node:path";
import type { EngineDefinition } from "../engine.js";
import type { FlushPolicy } from "../flush-policy.js";
import { seededRandom } from "../storage/seeded-random.js";
import { killTrial } from "./kill.js";
import type { Outcome } from "./outcome.js";
import { powerCutTrial } from "./power-cut.js";

const RIGS = ["kill", "power"] as const;
const POLICIES = ["async", "every", "sync"] as const;

type Rig = (typeof RIGS)[number];
type Policy = (typeof POLICIES)[number];

/** Power cuts that one round holds: each takes milliseconds, where a kill takes a process. */
const POWER_CUTS_PER_ROUND = 20;
const MAX_STEPS = 600;

/** All that a round does, drawn from its seed. */
export interface Round {
  readonly seed: number;
  readonly rig: Rig;
  readonly policy: Policy;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Of the kill rig: threads that append beside the one that opens the directory. */
  readonly writerCount: number;
}

const WRITER_COUNTS = [0, 0, 1, 2, 4];
/** Choices that several writers leave at the original's, and memory that is enough for each of them. */
const NOT_WITH_WRITERS = ["batchSizeBytes", "writePath", "assembly", "indexBuilding"];
const MEMORY_WITH_WRITERS = { bufferMemoryBytes: 1 << 20 };

/** Consecutive seeds take turns at rigs and policies, so that six rounds have seen them all. */
export function drawRound(definition: EngineDefinition, seed: number): Round {
  const random = seededRandom(seed);
  const rig = RIGS[seed % RIGS.length]!;
  const policy = POLICIES[Math.floor(seed / RIGS.length) % POLICIES.length]!;
  const settings = drawSettings(definition, policy, random);
  const mayHaveWriters = rig === "kill" && definition.attachWriter !== undefined;
  const writerCount = mayHaveWriters ? WRITER_COUNTS[Math.floor(random() * WRITER_COUNTS.length)]! : 0;
  if (writerCount === 0) return { seed, rig, policy, settings, writerCount };
  const allowed = Object.fromEntries(Object.entries(settings).filter(([word]) => !NOT_WITH_WRITERS.includes(word)));
  return { seed, rig, policy, settings: { ...allowed, ...MEMORY_WITH_WRITERS }, writerCount };
}

/** Runs it, the kills below `directory`. */
export async function* runRound(
  subject: { definition: EngineDefinition; engine: string },
  round: Round,
  options: { directory: string; signal: AbortSignal },
): AsyncGenerator<Outcome> {
  const { definition, engine } = subject;
  const { seed, settings, writerCount } = round;
  const hasChecksums = definition.name !== "raw" && settings.checksum !== false;
  // A baseline, whose messages have no form that could be checked, keeps values only.
  const hasKeys = "checksum" in settings && seed % 4 < 2;
  if (round.rig === "kill") {
    const directory = join(options.directory, `round-${seed}`);
    const { signal } = options;
    yield await killTrial({
      definition,
      engine,
      directory,
      settings,
      hasChecksums,
      hasKeys,
      writerCount,
      seed,
      signal,
    });
    return;
  }
  const random = seededRandom(seed);
  for (let cut = 0; cut < POWER_CUTS_PER_ROUND && !options.signal.aborted; cut++) {
    yield await powerCutTrial({
      definition,
      settings,
      seed: Math.floor(random() * 2 ** 32),
      stepCount: 1 + Math.floor(random() * MAX_STEPS),
      failsACall: random() < 0.3,
      hasChecksums,
      hasKeys,
    });
  }
}

/** Small files and batches, so that much begins and ends within a round; only what the engine's schema takes. */
function drawSettings(
  definition: EngineDefinition,
  policy: Policy,
  random: () => number,
): Readonly<Record<string, unknown>> {
  const among = <T>(...values: readonly T[]): T => values[Math.floor(random() * values.length)]!;
  const drawn: Record<string, unknown> = {
    flush: drawFlush(policy, random),
    batchSizeBytes: among(0, 500, 2_000, 16_384),
    lingerMs: among(0, 0, 1, 20),
    segmentSizeBytes: among(4_096, 8_192, 20_000, 65_536),
    preallocate: among(true, false),
    compression: among("none", "none", "gzip", "snappy", "lz4", "zstd", "zlib"),
    compressionThresholdBytes: among(0, 100),
    assembly: among("broker", "producer"),
    indexBuilding: among("deferred", "inline"),
    indexIntervalBytes: among(0, 512, 4_096),
    indexSizeBytes: among(120, 10_485_760),
    consumequeueFileSizeBytes: among(100, 400, 6_000),
    appendPropertyCrc: among(false, true),
    flushIntervalMs: among(20, 100, 500),
    consumequeueFlushIntervalMs: among(20, 1_000),
    writePath: among("write", "mmap"),
    mapWindowBytes: among(65_536, 67_108_864),
    lock: among("blocking", "spin"),
    checksum: among(true, true, true, false),
    pageCacheAdvice: among("none", "drop-behind", "random-reads"),
    warmUp: among("ahead", "file", "none"),
    keyIndex: among(true, true, false),
    keyIndexSlots: among(7, 500),
    keyIndexItems: among(10, 1_000),
    segmentMs: among(100, 604_800_000),
    retentionBytes: among(-1, -1, 30_000),
    retentionCheckMs: among(1, 300_000),
    fileDeleteDelayMs: among(0, 60_000),
  };
  const words = Object.entries(drawn).filter(
    ([word, value]) => definition.settingsSchema.safeParse({ [word]: value }).success,
  );
  return Object.fromEntries(words);
}

function drawFlush(policy: Policy, random: () => number): FlushPolicy {
  if (policy !== "every") return policy;
  const messages = 1 + Math.floor(random() * 200);
  const ms = 1 + Math.floor(random() * 200);
  const kind = random();
  if (kind < 0.33) return { every: { messages } };
  return kind < 0.66 ? { every: { ms } } : { every: { messages, ms } };
}
