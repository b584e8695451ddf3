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

/** For two processes to start on one processor. */
const LEAD_MS = 3_000;
const DURATION_NS = 2e9;
const TIME_LIMIT_MS = 60_000;

type Side = z.infer<typeof duetAnswerSchema>;

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

/** @param sampledFirst which is started first */
export async function measureDuet(options: {
  sampleIntervalMs: number;
  deviceStatPath: string | null;
  threadPoolSize: number;
  processor: number;
  sampledFirst: boolean;
  signal: AbortSignal;
}): Promise<DuetOfSampling> {
  const { sampleIntervalMs, deviceStatPath, threadPoolSize, processor, sampledFirst, signal } = options;
  const startAtMs = Date.now() + LEAD_MS;
  const run = (isSampled: boolean): Promise<Side> => {
    const input: z.infer<typeof duetInputSchema> = {
      sampleIntervalMs: isSampled ? sampleIntervalMs : null,
      deviceStatPath,
      threadPoolSize,
      startAtMs,
      durationNs: DURATION_NS,
    };
    const module = new URL("./null-load-process.js", import.meta.url);
    return runChild(module, input, duetAnswerSchema, { timeLimitMs: TIME_LIMIT_MS, signal, processor });
  };
  const [first, second] = await Promise.all([run(sampledFirst), run(!sampledFirst)]);
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
