/** The null engine through the whole loop with every latency recorded: what is left is the harness's own cost. */
import { decodeFromCompressedBase64 } from "hdr-histogram-js";
import { z } from "zod";
import { DiskStorage, heap, loadEngine } from "../engines/registry.js";
import { type Load, messagesSchema } from "../results/schema.js";
import { clockFrom } from "./clock.js";
import { EventLog } from "./event-log.js";
import { openMainSchedstat } from "./kernel-counters.js";
import { LoadGenerator, type WarmupLimits } from "./load-generator.js";
import { createMessageStream } from "./message-stream.js";
import { createPayloadPool } from "./payload-pool.js";
import { Sampler } from "./sampler.js";
import { SharedCells } from "./sampler-cells.js";

/** What one process of a duet does (see sampling-cost.ts). */
export const duetInputSchema = z.strictObject({
  /** Between two samples; null: without the sampler. */
  sampleIntervalMs: z.number().nullable(),
  deviceStatPath: z.string().nullable(),
  threadPoolSize: z.int(),
  /** On the clock of `Date.now`: until then it warms up. */
  startAtMs: z.number(),
  durationNs: z.number(),
});
/** Null: it was too late to begin at the same time as the other. */
export const duetAnswerSchema = z
  .strictObject({
    messageCount: z.int().positive(),
    /** User and system time of all threads of the process. */
    cpuNs: z.number().positive(),
    durationNs: z.number().positive(),
  })
  .nullable();

const PARTITIONS = 16;

export interface NullLoadOptions {
  readonly load: Load;
  readonly messageSizeBytes: number;
  readonly sampling: { intervalMs: number; deviceStatPath: string | null; threadPoolSize: number } | null;
  /** Asked when everything is ready to send; null: nothing is to be measured any more. */
  readonly warmup: () => WarmupLimits | null;
  readonly durationNs: number;
}

interface NullLoad {
  readonly messageCount: number;
  readonly durationNs: number;
  readonly cpuNs: number;
  readonly lagP99Ns: number;
}

/** @returns null where `warmup` does */
export async function driveNull(options: NullLoadOptions): Promise<NullLoad | null> {
  const { load, messageSizeBytes, sampling, warmup, durationNs } = options;
  const storage = new DiskStorage();
  const originNs = process.hrtime.bigint();
  const sampler = sampling === null ? null : await Sampler.create({ originNs, ...sampling });
  const cells = sampler?.cells ?? new SharedCells();
  const messages = messagesSchema.parse({ sizeBytes: messageSizeBytes, compressibleFraction: 0.5 });
  const values = createPayloadPool(messages, 1);
  const generator = new LoadGenerator({
    clock: clockFrom(originNs),
    epochMs: Date.now(),
    load,
    seed: 1,
    stream: createMessageStream({ values, messages, partitionCount: PARTITIONS, producerCount: 1, seed: 1 }),
    cells,
    eventLog: new EventLog(originNs, cells.numbers, sampling === null ? null : openMainSchedstat()),
    storageCounters: storage.counters,
  });
  const definition = await loadEngine("null");
  const engine = await definition.open({ directory: "/", storage, heap, settings: {}, listener: generator });
  generator.attach(engine, await engine.createTopic("bench", PARTITIONS));
  await sampler?.start();
  const warmupLimits = warmup();
  if (warmupLimits === null) return null;
  await generator.warmUp(warmupLimits);
  const cpuBefore = process.cpuUsage();
  const measured = await generator.measure({ durationNs, maximumMessages: Number.MAX_SAFE_INTEGER });
  const { user, system } = process.cpuUsage(cpuBefore);
  if (measured.missedRate !== null) throw new Error(measured.missedRate);
  await generator.flush();
  await sampler?.stop();
  await engine.close();
  const { scheduleLag } = generator.latencies();
  return {
    messageCount: measured.acknowledgedCount,
    durationNs: measured.durationNs,
    cpuNs: (user + system) * 1e3,
    lagP99Ns: scheduleLag === null ? 0 : decodeFromCompressedBase64(scheduleLag.encoded).getValueAtPercentile(99),
  };
}
