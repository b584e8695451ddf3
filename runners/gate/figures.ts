import { decodeHistogram } from "../../results/histogram.js";
import type { EncodedHistogram } from "../../results/schema.js";
import type { FigureName, Validity } from "../../results/validity.js";
import type { FigureDefinition } from "./decide.js";
import type { TrialFigures } from "./trial-exchange.js";
import type { TimedWorkload } from "./workloads.js";

/** What a response time counts as when the engine could not keep up with the rate: the end of the recorded range. */
const RATE_NOT_MET_NS = 60e9;

type FigureKind = Omit<FigureDefinition, "id">;

/**
 * What is read off the trials of each kind of workload. Few figures are gated, because each one more costs power: Holm's
 * correction is over all of them. The rest is watched.
 */
export const FIGURES: Readonly<Record<TimedWorkload["kind"], Readonly<Record<string, FigureKind>>>> = {
  closed: {
    durableThroughput: {
      title: "durable throughput",
      unit: "messages/s",
      better: "higher",
      margin: 0.05,
      equivalenceMargin: 0.15,
      gated: true,
    },
    acknowledgedThroughput: {
      title: "acknowledged throughput",
      unit: "messages/s",
      better: "higher",
      margin: 0.05,
      equivalenceMargin: 0.15,
      gated: false,
    },
    residentBytes: {
      title: "resident memory at most",
      unit: "bytes",
      better: "lower",
      margin: 0.05,
      equivalenceMargin: 0.15,
      gated: false,
    },
  },
  duet: {
    cpuPerMessage: {
      title: "CPU per message",
      unit: "ns",
      better: "lower",
      margin: 0.03,
      equivalenceMargin: 0.1,
      gated: true,
    },
  },
  open: {
    responseP99: {
      title: "response time p99 at 70 % load",
      unit: "ns",
      better: "lower",
      margin: 0.1,
      equivalenceMargin: 0.5,
      gated: true,
    },
    responseP50: {
      title: "response time p50 at 70 % load",
      unit: "ns",
      better: "lower",
      margin: 0.1,
      equivalenceMargin: 0.5,
      gated: false,
    },
  },
  recovery: {
    recoveryTime: {
      title: "recovery time",
      unit: "ns",
      better: "lower",
      margin: 0.05,
      equivalenceMargin: 0.2,
      gated: true,
    },
  },
};

/** A figure of one trial; an object where it came about in a way that nothing may be concluded from. */
export type Reading = number | { readonly value: number; readonly invalid: string };

/** By whose grade a figure stands and falls; memory is what it is however long it took. */
const GRADED_AS: Readonly<Record<string, FigureName>> = {
  durableThroughput: "durable",
  acknowledgedThroughput: "acknowledged",
  cpuPerMessage: "acknowledged",
  responseP99: "responseTime",
  responseP50: "responseTime",
};

type TrialKind = Exclude<TimedWorkload["kind"], "recovery">;

/** The figures of one trial, by name. @param validity null: unknown */
export function readFigures(
  kind: TrialKind,
  measured: TrialFigures,
  validity: Validity | null,
): Record<string, Reading> {
  const graded = Object.entries(VALUES[kind](measured)).map(([name, value]): [string, Reading] => {
    const judgement = validity?.[GRADED_AS[name]!];
    return [name, judgement?.grade === "invalid" ? { value, invalid: judgement.reasons[0]!.text } : value];
  });
  return Object.fromEntries(graded);
}

export function plainValue(reading: Reading): number {
  return typeof reading === "number" ? reading : reading.value;
}

const VALUES: Readonly<Record<TrialKind, (measured: TrialFigures) => Record<string, number>>> = {
  closed: (measured) => ({
    durableThroughput: measured.durable.messagesPerSecond,
    acknowledgedThroughput: measured.acknowledged.messagesPerSecond,
    residentBytes: measured.maxResidentBytes,
  }),
  duet: ({ cpuUserNs, cpuSystemNs, acknowledgedCount }) => ({
    cpuPerMessage: (cpuUserNs + cpuSystemNs) / acknowledgedCount,
  }),
  open: ({ responseTime }) => ({
    responseP99: percentile(responseTime, 99),
    responseP50: percentile(responseTime, 50),
  }),
};

/** An open trial whose rate was not met has no response times; for the ranks it is slower than any that has. */
export const FIGURES_OF_UNMET_RATE = { responseP99: RATE_NOT_MET_NS, responseP50: RATE_NOT_MET_NS };

function percentile(histogram: EncodedHistogram, percent: number): number {
  if (histogram.overflowCount > 0) return RATE_NOT_MET_NS;
  return decodeHistogram(histogram).getValueAtPercentile(percent);
}
