/**
 * What the sampler costs, by duets: the same load with and without it in two processes at the same time on the same
 * processor, which therefore suffer the same neighbours and the same frequency at every moment. Compared is CPU time per
 * message, all threads included (Bulej, Horký, Tůma et al., "Duet Benchmarking: Improving Measurement Accuracy in the
 * Cloud", ICPE 2020).
 *
 * The sampler works by the clock, and in a duet a process has half of the processor: at full speed the same cost falls
 * on twice the messages. What it takes of a processor's time is therefore told beside the ratio.
 */
import type { z } from "zod";
import { type Estimate, hodgesLehmannCentre, ratioOfPairs } from "../results/statistics.js";
import { runChild } from "./child-process.js";
import { duetAnswerSchema, type duetInputSchema } from "./null-load.js";

/** For two processes to start on one processor; more where that did not suffice. */
const LEADS_MS = [3_000, 6_000, 12_000];
const DURATION_NS = 6e9;
const TIME_LIMIT_MS = 60_000;

type Side = NonNullable<z.infer<typeof duetAnswerSchema>>;

export interface DuetOfSampling {
  readonly sampled: Side;
  readonly plain: Side;
}

export interface SamplingCost {
  /** CPU time per message, with the sampler ÷ without. */
  readonly ratio: Estimate;
  /** Of one processor's time. */
  readonly processorShare: Estimate;
}

interface DuetOptions {
  readonly sampleIntervalMs: number;
  readonly deviceStatPath: string | null;
  readonly threadPoolSize: number;
  readonly processor: number;
  /** Which is started first. */
  readonly sampledFirst: boolean;
}

/** @returns null where the machine is too busy to have both ready at the same moment */
export async function measureDuet(options: DuetOptions): Promise<DuetOfSampling | null> {
  for (const leadMs of LEADS_MS) {
    const duet = await attempt(options, leadMs);
    if (duet !== null) return duet;
  }
  return null;
}

async function attempt(options: DuetOptions, leadMs: number): Promise<DuetOfSampling | null> {
  const { sampleIntervalMs, deviceStatPath, threadPoolSize, processor, sampledFirst } = options;
  const startAtMs = Date.now() + leadMs;
  const run = (isSampled: boolean): Promise<Side | null> => {
    const input: z.infer<typeof duetInputSchema> = {
      sampleIntervalMs: isSampled ? sampleIntervalMs : null,
      deviceStatPath,
      threadPoolSize,
      startAtMs,
      durationNs: DURATION_NS,
    };
    const module = new URL("./null-load-process.js", import.meta.url);
    const { signal } = new AbortController();
    return runChild(module, input, duetAnswerSchema, { timeLimitMs: TIME_LIMIT_MS, signal, processor });
  };
  const [first, second] = await Promise.all([run(sampledFirst), run(!sampledFirst)]);
  if (first === null || second === null) return null;
  return sampledFirst ? { sampled: first, plain: second } : { sampled: second, plain: first };
}

/** Pure. @param duets at least six, for an interval of 95 % */
export function samplingCost(duets: readonly DuetOfSampling[]): SamplingCost {
  const perMessage = ({ cpuNs, messageCount }: Side) => cpuNs / messageCount;
  return {
    ratio: ratioOfPairs(
      duets.map(({ sampled }) => perMessage(sampled)),
      duets.map(({ plain }) => perMessage(plain)),
    ),
    processorShare: hodgesLehmannCentre(
      duets.map(
        ({ sampled, plain }) => ((perMessage(sampled) - perMessage(plain)) * sampled.messageCount) / sampled.durationNs,
      ),
    ),
  };
}
