/**
 * What the gate tells a trial's process and reads of its answer. The process may be of another build, older or newer than
 * the gate: so it is told nothing that its schema fills in by itself, and what its answer has or lacks beside what the gate
 * reads is its own affair. A field that the first of these builds did not know is never added here.
 */
import { z } from "zod";
import { measuredSchema } from "../../results/schema.js";
import type { trialInputSchema } from "../trial-protocol.js";
import { MESSAGES, type TimedWorkload, TOPOLOGY, type Workload } from "./workloads.js";

type TrialOrder = z.input<typeof trialInputSchema>;

const { durabilityClass } = measuredSchema.shape;
/** What the figures are read off. */
const read = measuredSchema.pick({
  acknowledgedCount: true,
  cpuUserNs: true,
  cpuSystemNs: true,
  durable: true,
  acknowledged: true,
  responseTime: true,
  maxResidentBytes: true,
});
/** A build may count more, or less; what only one side counts is not compared. */
const counters = z.record(z.string(), z.number());
const warnings = z.array(z.string()).catch([]);
const failedSchema = z.object({ status: z.literal("failed"), kind: z.string(), failures: z.array(z.string()) });

export const trialAnswerSchema = z.discriminatedUnion("status", [
  z.object({
    status: z.literal("ok"),
    /** Loose, like the answer: where it has all that the gate's own build knows, it can be graded too. */
    measured: z.looseObject({ ...read.shape, counters }),
    verification: z.unknown().optional(),
    warnings,
  }),
  failedSchema,
]);

/** Of a counted trial, whose times are none: an engine of plain JavaScript ends it at the instant at which it began. */
export const countedAnswerSchema = z.discriminatedUnion("status", [
  z.object({
    status: z.literal("ok"),
    measured: z.looseObject({ counters, durabilityClass: durabilityClass.optional().catch(undefined) }),
    warnings,
  }),
  failedSchema,
]);

export type FailedAnswer = z.infer<typeof failedSchema>;
export type OkAnswer = Extract<z.infer<typeof trialAnswerSchema>, { status: "ok" }>;
/** The figures of a trial that the gate reads. */
export type TrialFigures = OkAnswer["measured"];

/** Longer than any trial: the message counts end it. */
const FOREVER_NS = 1e15;

/** @param ratePerSecond of an open workload */
export function trialOrder(
  workload: Workload,
  ratePerSecond: number,
  trial: { engine: string; directory: string; settings: Readonly<Record<string, unknown>>; seed: number },
): TrialOrder {
  const { engine, directory, settings, seed } = trial;
  const isOpen = workload.kind === "open";
  return {
    engine,
    directory,
    configuration: { topology: TOPOLOGY, messages: MESSAGES, load: loadOf(workload, ratePerSecond), settings },
    seed,
    limits: {
      warmup: {
        minimumNs: FOREVER_NS,
        maximumNs: isOpen ? (workload.measureMs * 1e6) / 2 : FOREVER_NS,
        maximumMessages: workload.warmupMessages,
        binNs: 20e6,
        windowBins: 4,
      },
      measure: {
        durationNs: isOpen ? workload.measureMs * 1e6 : FOREVER_NS,
        maximumMessages: workload.measuredMessages,
      },
    },
    sampleIntervalMs: 1_000,
    deviceStatPath: null,
  };
}

function loadOf(workload: Workload | TimedWorkload, ratePerSecond: number): TrialOrder["configuration"]["load"] {
  if (workload.kind !== "open") return { model: "closed", inFlight: workload.inFlight };
  const { capacityFraction } = workload;
  return { model: "open", ratePerSecond, capacityFraction, arrivals: "poisson", inFlight: 65_536 };
}
