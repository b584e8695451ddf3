/**
 * What the gate runs on each engine. Fixed message counts, not times: the same work on every machine and in every build,
 * so that counters can be compared exactly.
 */
const MIB = 1024 * 1024;

interface Common {
  readonly id: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly inFlight: number;
  readonly warmupMessages: number;
  readonly measuredMessages: number;
}

/** Not timed: counters only, every copy tallied, few repetitions. */
export type CountedWorkload = Common & { readonly kind: "counted" };

export type TimedWorkload = Common &
  (
    | { readonly kind: "closed" }
    /** All trials of a block at the same time. */
    | { readonly kind: "duet" }
    /** At a share of the reference's capacity, which the gate measures first. */
    | { readonly kind: "open"; readonly capacityFraction: number; readonly measureMs: number }
    /** Opening what a killed process left. */
    | { readonly kind: "recovery" }
  );

export type Workload = CountedWorkload | TimedWorkload;

export interface GateProfile {
  readonly description: string;
  readonly budgetMs: number;
  readonly workloads: readonly Workload[];
}

export const TOPOLOGY = { topicCount: 1, partitionsPerTopic: 8 } as const;
export const MESSAGES = { sizeBytes: 256, compressibleFraction: 0.5 } as const;

const buffered = { settings: { flush: "async", segmentSizeBytes: 16 * MIB }, inFlight: 512 } as const;
const synced = { settings: { flush: "sync", segmentSizeBytes: 16 * MIB }, inFlight: 1 } as const;

const appending = {
  id: "appending",
  kind: "counted",
  ...buffered,
  // Small, so that rolls and the indexes that they write are counted too.
  settings: { ...buffered.settings, segmentSizeBytes: MIB },
  warmupMessages: 20_000,
  measuredMessages: 80_000,
} as const;
const syncing = { id: "syncing", kind: "counted", ...synced, warmupMessages: 20, measuredMessages: 200 } as const;
const closed = {
  id: "closed",
  kind: "closed",
  ...buffered,
  // Fewer, and the compiler is still at work on what is measured.
  warmupMessages: 150_000,
  measuredMessages: 300_000,
} as const;
const cpu = {
  id: "cpu",
  kind: "duet",
  ...buffered,
  warmupMessages: 150_000,
  // What the compiler still does, and the beginning and the end when one of a pair is alone, must not weigh.
  measuredMessages: 600_000,
} as const;
const open = {
  id: "open",
  kind: "open",
  ...buffered,
  warmupMessages: 60_000,
  measuredMessages: 2_000_000,
  capacityFraction: 0.7,
  measureMs: 500,
} as const;
const recovery = {
  id: "recovery",
  kind: "recovery",
  ...buffered,
  warmupMessages: 0,
  measuredMessages: 200_000,
} as const;

export const PROFILES: Readonly<Record<string, GateProfile>> = {
  gate: {
    description: "counters, throughput, CPU, response time and recovery of each engine",
    budgetMs: 8 * 60_000,
    workloads: [appending, syncing, cpu, closed, open, recovery],
  },
  short: {
    description: "counters and CPU of each engine",
    budgetMs: 3 * 60_000,
    workloads: [appending, syncing, cpu],
  },
  counters: {
    description: "counters alone, the same on a quiet and on a busy machine",
    budgetMs: 60_000,
    workloads: [appending, syncing],
  },
};
