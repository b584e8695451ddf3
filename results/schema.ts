/**
 * One stored run: everything that reports and the gate know, and everything needed to repeat it.
 *
 * Units stand in the names; times are nanoseconds or milliseconds, sizes bytes, rates per second. Raw per-trial figures
 * are stored, medians and intervals are not: analysis is a second, pure step. Unknown keys are errors, on write and on
 * read. `formatVersion` rises when a reader of the old form would misread the new one.
 */
import { z } from "zod";

export const FORMAT_VERSION = 1;

const count = z.int().nonnegative();
const amount = z.number().nonnegative();
/** What varies between the points of a scenario: dotted path in the configuration → value. */
const scalar = z.union([z.string(), z.number(), z.boolean()]);
const json: z.ZodType<unknown> = z.json();

/** Method rule: D0 user memory, D1 kernel, D2 fdatasync returned, D3 the same on a device whose flush is known to work. */
const durabilityClassSchema = z.enum(["D0", "D1", "D2", "D3"]);

/** A histogram of latencies in whole nanoseconds (1 ns to 60 s, 3 digits), in HdrHistogram's compressed V2 encoding. */
const histogramSchema = z.strictObject({
  /** Base64 of the V2 compressed encoding. */
  encoded: z.string(),
  sampleCount: count,
  /** Samples above 60 s, which the range cannot hold; they make percentiles near them unusable. */
  overflowCount: count,
});

const throughputSchema = z.strictObject({
  messagesPerSecond: amount,
  /** Payload only: keys and values, no framing. */
  payloadBytesPerSecond: amount,
  /** The time that the two rates divide by. */
  durationNs: amount,
});

/** What engines tell of (see engines/engine.ts, EngineEvent). */
const eventKindSchema = z.enum(["sync", "file-preallocate", "index-flush", "segment-roll", "retention-delete"]);

/**
 * What a slow message may be put down to: an engine's own event; the collector; the main thread ready and without a
 * processor; time given to other machines; much being written back; a long call of the engine that no event explains; a
 * long turn of the event loop; the generator itself behind its schedule.
 */
const tailCauseSchema = z.enum([
  ...eventKindSchema.options,
  "garbage-collection",
  "processor-wait",
  "steal",
  "writeback",
  "engine-call",
  "event-loop",
  "generator",
  "unexplained",
]);

/** CPU time by thread; threads that Node does not name are told by the order in which it starts them. */
const threadTimesSchema = z.strictObject({
  /** Load generator and engine share it. */
  mainNs: amount,
  /** libuv's pool: asynchronous storage calls. */
  poolNs: amount,
  /** V8's helpers: garbage collection, compilation. */
  v8Ns: amount,
  samplerNs: amount,
  /** What the engine started, and the rest. */
  otherNs: amount,
});

/** Where the main thread was, by observations at random moments from the sampler's thread: shares of time, not of CPU. */
const mainThreadSchema = z.strictObject({
  observations: count,
  /** Within the engine's append and poll. */
  engine: z.number().min(0).max(1),
  /** Of `engine` what a broker would do, the rest being a producer's; null: the engine does not tell, or an older run. */
  broker: z.number().min(0).max(1).nullable().default(null),
  /** In the load generator, recording included. */
  generator: z.number().min(0).max(1),
  /** In the event loop: timers, what the engine goes on with after asynchronous calls; not while a closed loop sleeps there. */
  eventLoop: z.number().min(0).max(1),
});

/** More of the same interval. What the platform does not tell is null. */
const sampleDetailSchema = z.strictObject({
  /** Of the measured messages acknowledged since the last one of these, a quarter of a second or more; 2 digits. */
  responseTime: histogramSchema.nullable(),
  threads: threadTimesSchema.nullable(),
  mainThread: mainThreadSchema.nullable(),
  /** How long the main thread was ready and had no processor. */
  processorWaitNs: amount.nullable(),
  voluntarySwitches: count.nullable(),
  involuntarySwitches: count.nullable(),
  minorFaults: count.nullable(),
  majorFaults: count.nullable(),
  /** At the end of the interval; anonymous: without pages of files. */
  residentBytes: amount.nullable(),
  anonymousBytes: amount.nullable(),
  /** The most that was written and not yet visible to consumers; null: the engine has no such lag. */
  dispatchLagMaxBytes: amount.nullable(),
  /** Of engine events that ended in the interval; a kind of which there were none is absent. */
  events: z.partialRecord(eventKindSchema, z.strictObject({ count, totalNs: amount, longestNs: amount })),
});

/** One interval of the samplers, about a second, on the clock of the latencies. */
const sampleSchema = z.strictObject({
  /** Since the start of the trial's load, warm-up included. */
  atNs: amount,
  durationNs: amount,
  acknowledgedMessages: count,
  /** Machine-wide, from the kernel; null where the platform does not tell. */
  dirtyBytes: amount.nullable(),
  writebackBytes: amount.nullable(),
  deviceWrittenBytes: amount.nullable(),
  /** Fraction of the interval in which the device was busy. */
  deviceUtilisation: amount.nullable(),
  processCpuFraction: amount,
  stealFraction: amount.nullable(),
  garbageCollectionNs: amount,
  eventLoopDelayMaxNs: amount,
  /** Share of the time in which the main thread's event loop was not waiting for something to do; null: not known. */
  eventLoopUtilisation: z.number().min(0).max(1).nullable().default(null),
  /** Of an open load, at the interval's end: messages due and not yet sent; absent before it is measured, and in older runs. */
  backlogMessages: count.optional(),
  /** Null in runs of before it was sampled. */
  detail: sampleDetailSchema.nullable().default(null),
});

/** Response times beyond the percentile, each put down to one cause (the rule: runners/tail-causes.ts). */
const tailSchema = z.strictObject({
  percentile: z.number(),
  /** The percentile: what is listed is longer. */
  thresholdNs: amount,
  count,
  /** How many of them were kept to be examined: the longest. */
  examinedCount: count,
  /** Most frequent first; the counts add up to `examinedCount`. */
  causes: z.array(
    z.strictObject({
      cause: tailCauseSchema,
      count,
      worstNs: amount,
      /** Share of the measured time under such events, long ones alone: a cause that is always there explains little. */
      presence: z.number().min(0).max(1).nullable(),
    }),
  ),
});

/** What a storage asks the system for (engines/storage/system-calls.ts). */
const systemCallSchema = z.enum([
  "open",
  "close",
  "write",
  "read",
  "fdatasync",
  "fsync",
  "msync",
  "mmap",
  "madvise",
  "fallocate",
  "ftruncate",
  "fadvise",
  "stat",
  "rename",
  "unlink",
  "other",
]);

/** What the messages of the measured interval cost, its final flush included; a message's cost is a quotient of these. */
const costSchema = z.strictObject({
  messageCount: count,
  payloadBytes: count,
  durationNs: amount,
  /** The device's own count, whoever wrote. */
  deviceBytes: amount.nullable(),
  /** What was written to it while the trial read back and wrote nothing; null: too short a look. */
  idleDeviceBytesPerSecond: amount.nullable(),
  /** By the engine through its storage. */
  writtenBytes: count,
  logBytes: count,
  indexBytes: count,
  batches: count,
  writeCalls: count,
  readCalls: count,
  syncCalls: count,
  filesOpened: count,
  /** All system calls of the storage by kind, those above among them; a kind of which there were none is absent; null: an older run. */
  systemCalls: z.partialRecord(systemCallSchema, count).nullable().default(null),
  cpuUserNs: amount,
  cpuSystemNs: amount,
  threads: threadTimesSchema.nullable(),
  mainThread: mainThreadSchema.nullable(),
  minorFaults: count,
  majorFaults: count,
  /** JavaScript heap allocated, garbage included. */
  allocatedBytes: amount.nullable(),
});

/** Exact counts of what the engine did during the whole trial (see engines/engine.ts, EngineCounters). */
const countersSchema = z.strictObject({
  appendedMessages: count,
  acknowledgedMessages: count,
  batches: count,
  logBytes: count,
  indexEntries: count,
  indexBytes: count,
  filesRolled: count,
  writeCalls: count,
  writtenBytes: count,
  readCalls: count,
  readBytes: count,
  syncCalls: count,
  filesOpened: count,
  filesCreated: count,
  filesDeleted: count,
});

export const verificationSchema = z.strictObject({
  /** `not-applicable` only for an engine that stores nothing (null). */
  outcome: z.enum(["passed", "failed", "not-applicable"]),
  /** Acknowledged to the load generator, warm-up included. */
  expectedMessages: count,
  readMessages: count,
  checkedBytes: count,
  /** Of the expected, those that retention had deleted before; absent where it deletes none. */
  deletedMessages: count.optional(),
  durationNs: amount,
  /** What is wrong, one sentence each, naming partition and offset. */
  problems: z.array(z.string()),
});

/** Independent senders, each with its own share of what may be in flight, its own schedule and its own sticky partition. */
const producers = z.int().positive().default(1);

const closedLoadSchema = z.strictObject({
  model: z.literal("closed"),
  /** Of all producers together. */
  inFlight: z.int().positive(),
  producers,
});

/** An open load's rate is known only once the closed-loop trials of the same engine and point have run. */
const plannedOpenLoadSchema = z.strictObject({
  model: z.literal("open"),
  /** Share of this engine's own closed-loop capacity at the same point that the rate is chosen as. */
  capacityFraction: z.number().positive(),
  arrivals: z.enum(["constant", "poisson"]),
  /** Bound on messages sent and not acknowledged, so that a rate out of reach ends in a backlog and not in memory. */
  inFlight: z.int().positive(),
  producers,
});
const plannedLoadSchema = z.discriminatedUnion("model", [closedLoadSchema, plannedOpenLoadSchema]);

/** Of an open trial that could not run, for want of a capacity to take its fraction of: it says nothing. */
export const UNTRIED_RATE = 1;

const loadSchema = z.discriminatedUnion("model", [
  closedLoadSchema,
  plannedOpenLoadSchema.extend({ ratePerSecond: z.number().positive() }),
]);

export const messagesSchema = z.strictObject({
  /** Of the value; the mean where sizes vary. */
  sizeBytes: z.int().positive(),
  /** `uniform`: 0 to twice the mean; `exponential`: many small, few large. */
  sizes: z.enum(["fixed", "uniform", "exponential"]).default("fixed"),
  /** 0 = random bytes, 1 = all the same byte. */
  compressibleFraction: z.number().min(0).max(1),
  /** Lines of a user's file, sent one after the other instead of made-up values. */
  payloadFile: z
    .strictObject({ path: z.string(), sha256: z.string(), lineCount: z.int().positive() })
    .nullable()
    .default(null),
  /**
   * How messages find their partition. Without keys: `round-robin`, or `sticky` (a producer stays with one for `stickyBytes`).
   * With keys of `keyCount` kinds, drawn as `uniform` or `zipf`: by the hash of the key.
   */
  keys: z.enum(["round-robin", "sticky", "uniform", "zipf"]).default("round-robin"),
  keyCount: z.int().positive().max(1_000_000).default(10_000),
  stickyBytes: z.int().positive().default(16_384),
});

export const configurationSchema = z.strictObject({
  topology: z.strictObject({ topicCount: z.int().positive(), partitionsPerTopic: z.int().positive() }),
  messages: messagesSchema,
  load: loadSchema,
  /** Complete engine settings, defaults filled in by the engine's schema. */
  settings: z.record(z.string(), json),
});

export const measuredSchema = z.strictObject({
  /** Messages acknowledged within the measured interval. */
  acknowledgedCount: count,
  sentCount: count,
  /** Time from load start to the start of measuring, and whether the throughput was steady by then. */
  warmupNs: amount,
  steady: z.boolean(),
  durabilityClass: durabilityClassSchema,
  acknowledged: throughputSchema,
  /** The same messages, the clock stopped only when a final fdatasync of all of them had returned. */
  durable: throughputSchema,
  /** How long that final flush took, and what the kernel still held when it began. */
  finalFlushNs: amount,
  dirtyBytesAtEnd: amount.nullable(),
  /** Dirty and being written back, machine-wide, when the load began: others' or an earlier trial's. */
  dirtyBytesAtStart: amount.nullable().default(null),
  /** What the trial's process itself gave to the storage layer during `samples`, from the kernel's own account. */
  ownDeviceBytes: amount.nullable().default(null),
  /** Segments or files begun within the measured interval. */
  filesRolledInside: count.nullable().default(null),
  /** By how much the wall clock ran ahead of the monotonic one (negative: behind) from load start to final flush. */
  clockStepNs: z.number().nullable().default(null),
  /** Completion − intended send time. In a closed loop intended = sent. */
  responseTime: histogramSchema,
  /** Completion − actual send. */
  serviceTime: histogramSchema,
  /** Actual − intended send; open loop only. */
  scheduleLag: histogramSchema.nullable(),
  /** Messages due and not yet sent when the measured interval ended; open loop only. */
  backlogAtEnd: count.nullable(),
  counters: countersSchema,
  samples: z.array(sampleSchema),
  cpuUserNs: amount,
  cpuSystemNs: amount,
  /** Of the main thread over the measured interval (Node's `performance.eventLoopUtilization`); null: from an older run. */
  eventLoopUtilisation: z.number().min(0).max(1).nullable().default(null),
  maxResidentBytes: amount,
  tail: tailSchema.nullable().default(null),
  cost: costSchema.nullable().default(null),
  /** CPU time of the sampler's thread from load start to final flush, as a share of that time. */
  samplerCpuFraction: amount.nullable().default(null),
  /** By how much anonymous memory grew within the measured interval (Theil–Sen slope); null: too few samples. */
  memoryGrowthBytesPerSecond: z.number().nullable().default(null),
});

/** Why a trial was measured as long as it was, where its acknowledgements wait for a sync (runners/measure-time.ts). */
const measureTimeSchema = z.strictObject({
  durationNs: amount,
  /** The profile's time for all other trials. */
  profileNs: amount,
  /** As the probe appended them. */
  syncsPerSecond: amount,
  /** Acknowledgements that the probe promises at least, or an open load's rate. */
  expectedPerSecond: amount,
  /** What the time was to publish, 100 samples beyond it. */
  percentile: amount,
});

export const trialSchema = z
  .strictObject({
    trialId: z.string(),
    scenarioId: z.string(),
    engine: z.string(),
    /**
     * Which value of each of the scenario's axes this trial has. A baseline runs only at an axis's first value where the
     * axis does not matter to it (`raw` has no partitions); shares at the axis's other values refer to that trial.
     */
    point: z.record(z.string(), scalar),
    /** 0-based; trials with equal scenario, engine, point and load differ in this alone. */
    repetition: count,
    /** Whether it ran with the engines' trials, or as a limit before or after all of them. */
    phase: z.enum(["before", "trials", "after"]).default("trials"),
    /** Of a baseline that ran as a limit: the engines whose sizes and flush policy it had; else null. */
    limits: z.array(z.string()).nullable().default(null),
    /** 0-based place in the interleaved order of the run. */
    order: count,
    seed: count,
    configuration: configurationSchema,
    startedAt: z.iso.datetime(),
    durationNs: amount,
    /**
     * For each earlier attempt at it that was thrown away because others wrote to the device, the share of the device's
     * bytes that was theirs.
     */
    disturbedAttempts: z.array(amount).default([]),
    /** Absent where the profile's time held, and in older runs. */
    measureTime: measureTimeSchema.optional(),
    /** Hash of what determines it (configuration, seed, code, machine), by which a resumed run knows it; null: unknown. */
    identity: z.string().nullable().default(null),
    status: z.enum(["ok", "failed"]),
    /**
     * What failed: the engine, its data, or (`rate`) only to be fast enough for an open load's rate or to acknowledge
     * anything within the interval, which is a finding and no fault. Null: nothing, or unknown.
     */
    failureKind: z.enum(["engine", "data", "rate"]).nullable().default(null),
    /** Why it failed; a failed trial has no figures that count. */
    failures: z.array(z.string()),
    /** What makes its figures doubtful, in whole sentences. */
    warnings: z.array(z.string()),
    verification: verificationSchema.nullable(),
    /** Of a trial that failed by its rate alone, how it fell behind: none of its figures is one of the engine under that load. */
    measured: measuredSchema.nullable(),
  })
  .refine(
    ({ status, failureKind, measured }) =>
      status === "ok" ? measured !== null : measured === null || failureKind === "rate",
    "a trial that is ok has figures, and a failed one none, unless it only missed its rate",
  );

/** "p99 ≤ 5 ms": of the response times of an open loop. */
const objectiveSchema = z.strictObject({ percentile: z.number().gt(0).lt(100), latencyNs: z.number().positive() });

/** The search for the highest rate at which an engine meets an objective at one point of a scenario. */
const searchSchema = z.strictObject({
  scenarioId: z.string(),
  engine: z.string(),
  point: z.record(z.string(), scalar),
  objective: objectiveSchema,
  /** Of the closed loop at the same point: where the search began. */
  capacityPerSecond: amount,
  /** In the order of trying; each is a fresh process and directory, read back as every trial. */
  steps: z.array(
    z.strictObject({
      isMet: z.boolean(),
      /** The objective's percentile; null where the rate was not met, or too few samples lie beyond it. */
      latencyNs: amount.nullable(),
      trial: trialSchema,
    }),
  ),
  /** The highest rate that met the objective twice; null if none did. */
  ratePerSecond: amount.nullable(),
  /** `ceiling`: met at the highest rate tried; `never`: missed at the lowest; `unsettled`: the steps did not suffice. */
  end: z.enum(["found", "ceiling", "never", "unsettled"]),
});

/** What a run's time did not suffice to resolve. */
const unresolvedSchema = z.discriminatedUnion("what", [
  /** A comparison that shows neither a difference nor its absence. */
  z.strictObject({
    what: z.literal("comparison"),
    scenarioId: z.string(),
    point: z.record(z.string(), scalar),
    load: plannedLoadSchema,
    engines: z.tuple([z.string(), z.string()]),
    pairCount: count,
    /** Of the ratio first ÷ second by Student's t; null: fewer than two pairs. */
    interval: z.strictObject({ lower: amount, upper: amount, confidence: z.number() }).nullable(),
  }),
  /** A search that the time ended before it had begun or ended. */
  z.strictObject({
    what: z.literal("search"),
    scenarioId: z.string(),
    point: z.record(z.string(), scalar),
    engine: z.string(),
    objective: objectiveSchema,
  }),
]);

const axisSchema = z.strictObject({ path: z.string(), label: z.string(), values: z.array(scalar) });

const scenarioRecordSchema = z.strictObject({
  id: z.string(),
  title: z.string(),
  question: z.string(),
  expectation: z.string(),
  refutedIf: z.string(),
  /** The figure that the answer compares. */
  figure: z.enum(["acknowledged", "durable", "responseTime"]),
  engines: z.array(z.string()),
  baselines: z.array(z.string()),
  axes: z.array(axisSchema),
});

/** One measurement of the device, taken before the trials in the directory that they use. */
export const probeResultSchema = z.strictObject({
  id: z.enum(["buffered-write", "direct-write", "sync-overwrite", "sync-append", "random-read", "sequential-read"]),
  tool: z.enum(["logduel", "fio"]),
  blockSizeBytes: z.int().positive(),
  operations: count,
  bytesPerSecond: amount,
  operationsPerSecond: amount,
  latency: histogramSchema.nullable(),
  /** Set when the platform lacks the means; the figures are then 0. */
  unavailable: z.string().nullable(),
});

export const environmentSchema = z.strictObject({
  /** Stable across reboots: hash of machine, CPU, memory, device, filesystem, kernel and Node versions. */
  fingerprint: z.string(),
  platform: z.string(),
  kernel: z.string(),
  distribution: z.string(),
  cpu: z.strictObject({
    model: z.string(),
    logicalCores: z.int().positive(),
    governor: z.string().nullable(),
    /** Whether it may clock higher than its nominal rate; whether logical cores share a physical one; null: not told. */
    turbo: z.boolean().nullable().default(null),
    siblings: z.boolean().nullable().default(null),
    /** What the control group may use, in processors; null: no limit, or not told. */
    quota: z.number().positive().nullable().default(null),
  }),
  memoryBytes: count,
  memoryLimitBytes: count.nullable(),
  node: z.strictObject({
    version: z.string(),
    v8: z.string(),
    uv: z.string(),
    threadPoolSize: z.int().positive(),
    /** Command-line flags and environment variables that every trial runs under, and what pins it to processors. */
    flags: z.array(z.string()),
  }),
  device: z.strictObject({
    name: z.string().nullable(),
    model: z.string().nullable(),
    rotational: z.boolean().nullable(),
    scheduler: z.string().nullable(),
    writeCache: z.string().nullable(),
    fua: z.boolean().nullable(),
    queueDepth: z.int().nullable(),
  }),
  filesystem: z.strictObject({
    type: z.string(),
    mountPoint: z.string(),
    mountOptions: z.string(),
    sizeBytes: amount,
    freeBytes: amount,
  }),
  /** vm.dirty_* as found, and the load average before the run. */
  dirtySettings: z.record(z.string(), z.number()),
  loadAverage: z.array(z.number()),
  checksumProviders: z.record(z.string(), z.string()),
  /** Rules of the method that cannot be kept here, one sentence each. */
  notPossible: z.array(z.string()).default([]),
  /** Optional tools that are absent, and what else about the machine limits the figures; one sentence each. */
  notes: z.array(z.string()),
});

/**
 * Sequential buffered writes into a growing file, the final fsync within the time, taken in turns by the harness's own
 * write loop and by fio.
 */
const agreementSchema = z.strictObject({
  blockSizeBytes: z.int().positive(),
  fileSizeBytes: z.int().positive(),
  rounds: z.array(z.strictObject({ rawBytesPerSecond: amount, fioBytesPerSecond: amount })).min(1),
});

export const runSchema = z.strictObject({
  formatVersion: z.literal(FORMAT_VERSION),
  runId: z.string(),
  /** `partial`: interrupted or cut short; what is there is whole. */
  status: z.enum(["complete", "partial"]),
  startedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime().nullable(),
  /** To repeat the run: the arguments after `npm run bench --`. */
  command: z.array(z.string()),
  profile: z.string(),
  seed: count,
  code: z.strictObject({
    version: z.string(),
    commit: z.string().nullable(),
    dirty: z.boolean().nullable(),
    /** Of the compiled code that measures; null: unknown. */
    hash: z.string().nullable().default(null),
  }),
  packages: z.record(z.string(), z.string()),
  environment: environmentSchema,
  probe: z.array(probeResultSchema),
  /** The same measurements after all trials; empty: not taken. */
  probeAfter: z.array(probeResultSchema).default([]),
  /** When all trials had ended; empty: not taken. */
  loadAverageAfter: z.array(z.number()).default([]),
  /** Null where fio is not installed, or failed. */
  agreement: agreementSchema.nullable().default(null),
  /** The time that the run was given; null: as long as it takes. */
  budgetMs: z.number().positive().nullable().default(null),
  /**
   * Whether figures beside other writers on the device count as doubtful only and no trial was repeated for them: asked
   * for, or from an older run.
   */
  allowsNeighbours: z.boolean().default(true),
  /** A sentence: from an older run. */
  unresolved: z.array(z.union([z.string(), unresolvedSchema])).default([]),
  scenarios: z.array(scenarioRecordSchema),
  /** How many trials were planned; fewer in `trials` means that the run is partial. */
  plannedTrialCount: count,
  trials: z.array(trialSchema),
  searches: z.array(searchSchema).default([]),
});

export type DurabilityClass = z.infer<typeof durabilityClassSchema>;
export type EncodedHistogram = z.infer<typeof histogramSchema>;
export type Throughput = z.infer<typeof throughputSchema>;
export type Sample = z.infer<typeof sampleSchema>;
export type TailCause = z.infer<typeof tailCauseSchema>;
/** From special to general. */
export const TAIL_CAUSES: readonly TailCause[] = tailCauseSchema.options;
export type Tail = z.infer<typeof tailSchema>;
export type Cost = z.infer<typeof costSchema>;
export type ThreadTimes = z.infer<typeof threadTimesSchema>;
export type MainThread = z.infer<typeof mainThreadSchema>;
export type MeasureTime = z.infer<typeof measureTimeSchema>;
export type Verification = z.infer<typeof verificationSchema>;
export type Load = z.infer<typeof loadSchema>;
export type PlannedLoad = z.infer<typeof plannedLoadSchema>;
export type Configuration = z.infer<typeof configurationSchema>;
export type Measured = z.infer<typeof measuredSchema>;
export type Trial = z.infer<typeof trialSchema>;
export type Objective = z.infer<typeof objectiveSchema>;
export type Search = z.infer<typeof searchSchema>;
export type Unresolved = z.infer<typeof unresolvedSchema>;
export type ScenarioRecord = z.infer<typeof scenarioRecordSchema>;
export type ProbeResult = z.infer<typeof probeResultSchema>;
export type Environment = z.infer<typeof environmentSchema>;
export type Run = z.infer<typeof runSchema>;
