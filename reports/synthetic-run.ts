/**
 * An invented run for tests: plausible figures from a small model of two engines, failed trials, doubtful ones, an open
 * loop, several axes, and one scenario whose every name is hostile. Nothing in it was measured.
 */
import { build, encodeIntoCompressedBase64 } from "hdr-histogram-js";
import { type Random, seededRandom, shuffle } from "../results/random.js";
import type { Configuration, EncodedHistogram, Load, Measured, Run, ScenarioRecord, Trial } from "../results/schema.js";
import { FORMAT_VERSION, messagesSchema, runSchema } from "../results/schema.js";

type Scalar = string | number | boolean;

/** Names that would do harm on a page, in a file system, in Markdown or on a terminal, were they used as they are. */
export const HOSTILE = {
  scenarioId: "../../x",
  title: "<script>alert(1)</script>",
  question: "Is </script><script>window.hacked = 1</script> | <img src=x onerror=alert(1)> inert?",
  engine: "</script><img src=http://127.0.0.1:9/x onerror=window.hacked=1>",
  otherEngine: "[evil](http://127.0.0.1:9/y) `|` \u001b[31mred\u001b[0m \u202ereversed",
  axisValue: '"><svg onload=window.hacked=1> \u2028 & {{x}} <%= 1 %>',
} as const;

export interface SyntheticOptions {
  seed?: number;
  /** Repetitions of every point; 5 by default. */
  trialCount?: number;
  /** Whether the run was cut short; its last trials are then missing. */
  partial?: boolean;
}

/** Builds the run and validates it by the schema. */
export function syntheticRun(options: SyntheticOptions = {}): Run {
  const { seed = 1, trialCount = 5, partial = false } = options;
  const random = seededRandom(seed);
  const planned = SCENARIOS.flatMap((scenario) => planTrials(scenario, trialCount));
  const order = shuffle(
    planned.map((_, index) => index),
    random,
  );
  const trials = planned.map((plan, index) => makeTrial(plan, index, order[index]!, random));
  trials.sort((a, b) => a.order - b.order);
  const kept = partial ? trials.slice(0, Math.floor(trials.length * 0.8)) : trials;
  return runSchema.parse({
    formatVersion: FORMAT_VERSION,
    runId: "2025-03-14T09-26-53Z-5c3a",
    status: partial ? "partial" : "complete",
    startedAt: "2025-03-14T09:26:53Z",
    finishedAt: partial ? null : "2025-03-14T09:31:40Z",
    command: ["--profile", "quick", "--seed", String(seed), "--dir", "/data/it's here"],
    profile: "quick",
    seed,
    code: { version: "0.1.0", commit: "2368563f0a1b2c3d4e5f60718293a4b5c6d7e8f9", dirty: true, hash: null },
    packages: { koffi: "3.3.4", "hdr-histogram-js": "3.0.1" },
    environment: ENVIRONMENT,
    probe: makeProbe(random),
    probeAfter: [],
    loadAverageAfter: [1.2, 0.8, 0.4],
    agreement: null,
    budgetMs: null,
    allowsNeighbours: false,
    unresolved: [],
    scenarios: SCENARIOS.map((scenario) => scenario.record),
    plannedTrialCount: planned.length,
    trials: kept,
    searches: [],
  } satisfies Run);
}

interface SyntheticScenario {
  record: ScenarioRecord;
  openFractions: number[];
  base: { partitions: number; sizeBytes: number; inFlight: number; flush: string; lingerMs: number };
}

const SCENARIOS: SyntheticScenario[] = [
  {
    record: {
      id: "device-ceiling",
      title: "How near the disk's limit",
      question: "How near does each engine come to what this disk can do, acknowledged and durable?",
      expectation:
        "Both engines reach most of what raw appends reach; the durable figures meet at the disk's own speed.",
      refutedIf: "Either engine stays below half of raw, acknowledged or durable.",
      figure: "durable",
      engines: ["partitioned-log", "commitlog"],
      baselines: ["null", "raw"],
      axes: [],
    },
    openFractions: [0.5, 0.7, 0.9],
    base: { partitions: 8, sizeBytes: 1024, inFlight: 1024, flush: "async", lingerMs: 0 },
  },
  {
    record: {
      id: "many-partitions",
      title: "Many partitions",
      question: "How does throughput change from 1 to 10 000 partitions when the total of bytes stays the same?",
      expectation: "One file per partition turns writes into random ones; one shared commitlog does not notice.",
      refutedIf:
        "The ratio of the two engines at 10 000 partitions lies within 10 % of the ratio at 1, or the partitioned log does not slow down.",
      figure: "acknowledged",
      engines: ["partitioned-log", "commitlog"],
      baselines: ["null", "raw"],
      axes: [{ path: "topology.partitionsPerTopic", label: "partitions", values: [1, 10, 100, 1000, 10_000] }],
    },
    openFractions: [0.7],
    base: { partitions: 1, sizeBytes: 1024, inFlight: 1024, flush: "async", lingerMs: 0 },
  },
  {
    record: {
      id: "linger",
      title: "Linger",
      question: "What does a longer linger cost in response time?",
      expectation: "Response time rises with linger, about one linger at the median.",
      refutedIf: "The p99 response time at 100 ms linger is less than twice that at 0 ms.",
      figure: "responseTime",
      engines: ["partitioned-log", "commitlog"],
      baselines: [],
      axes: [{ path: "settings.lingerMs", label: "linger (ms)", values: [0, 1, 5, 20, 100] }],
    },
    openFractions: [0.5, 0.9],
    base: { partitions: 16, sizeBytes: 1024, inFlight: 1024, flush: "async", lingerMs: 0 },
  },
  {
    record: {
      id: "flush-policy",
      title: "Flush policy",
      question: "What does each flush policy cost, by messages in flight and by partitions?",
      expectation:
        "Group commit lets sync scale with messages in flight on one partition, and much less on many partitions.",
      refutedIf: "At 100 partitions the two engines differ by less than 20 % under sync with 1 024 in flight.",
      figure: "acknowledged",
      engines: ["partitioned-log", "commitlog"],
      baselines: ["raw"],
      axes: [
        { path: "settings.flush", label: "flush", values: ["async", "every 1 000 messages", "sync"] },
        { path: "load.inFlight", label: "messages in flight", values: [1, 32, 1024] },
        { path: "topology.partitionsPerTopic", label: "partitions", values: [1, 100] },
      ],
    },
    openFractions: [],
    base: { partitions: 1, sizeBytes: 1024, inFlight: 1, flush: "async", lingerMs: 0 },
  },
  {
    record: {
      id: HOSTILE.scenarioId,
      title: HOSTILE.title,
      question: HOSTILE.question,
      expectation: "Nothing happens.",
      refutedIf: "</td></table><script>window.hacked=1</script>",
      figure: "acknowledged",
      engines: [HOSTILE.engine, HOSTILE.otherEngine],
      baselines: [],
      axes: [{ path: "settings.flush", label: "<b>flush</b>", values: [HOSTILE.axisValue, "async"] }],
    },
    openFractions: [],
    base: { partitions: 1, sizeBytes: 128, inFlight: 16, flush: "async", lingerMs: 0 },
  },
];

interface PlannedTrial {
  scenario: SyntheticScenario;
  engine: string;
  point: Record<string, Scalar>;
  repetition: number;
  openFraction: number | null;
}

function planTrials(scenario: SyntheticScenario, trialCount: number): PlannedTrial[] {
  const { axes, engines, baselines } = scenario.record;
  const points = axes.reduce<Record<string, Scalar>[]>(
    (partial, axis) => partial.flatMap((point) => axis.values.map((value) => ({ ...point, [axis.path]: value }))),
    [{}],
  );
  const plans: PlannedTrial[] = [];
  for (const point of points) {
    for (const engine of [...engines, ...baselines]) {
      // One file has no partitions: raw runs at the axis's base only, and shares at other points refer to it.
      const partitions = point["topology.partitionsPerTopic"];
      if (engine === "raw" && partitions !== undefined && partitions !== 1) continue;
      for (let repetition = 0; repetition < trialCount; repetition++) {
        plans.push({ scenario, engine, point, repetition, openFraction: null });
        if (baselines.includes(engine)) continue;
        for (const openFraction of scenario.openFractions) {
          plans.push({ scenario, engine, point, repetition, openFraction });
        }
      }
    }
  }
  return plans;
}

function makeTrial(plan: PlannedTrial, index: number, order: number, random: Random): Trial {
  const configuration = configure(plan);
  const capacity = capacityOf(plan, configuration) * Math.exp(0.05 * gaussian(random));
  const failures = failuresOf(plan);
  const isMissed = failures.some((failure) => failure.startsWith(MISSED));
  const measured =
    failures.length > 0 && !isMissed
      ? null
      : measure(plan, configuration, capacity, isMissed ? seededRandom(index) : random);
  if (isMissed) fallBehind(measured!);
  return {
    trialId: `t${index}`,
    scenarioId: plan.scenario.record.id,
    engine: plan.engine,
    point: plan.point,
    repetition: plan.repetition,
    phase: !plan.scenario.record.baselines.includes(plan.engine)
      ? "trials"
      : plan.repetition % 2 === 0
        ? "before"
        : "after",
    limits: plan.scenario.record.baselines.includes(plan.engine) ? plan.scenario.record.engines : null,
    order,
    seed: 1000 + index,
    configuration,
    startedAt: new Date(Date.UTC(2025, 2, 14, 9, 26, 53) + order * 1500).toISOString(),
    durationNs: 4e9,
    disturbedAttempts: [],
    identity: null,
    status: failures.length > 0 ? "failed" : "ok",
    failureKind: isMissed ? "rate" : failures.length > 0 ? "engine" : null,
    failures,
    warnings:
      measured?.steady === false
        ? ["Throughput never got steady within the 2 s allowed: the warm-up may reach into the measured time."]
        : [],
    verification:
      failures.length > 0
        ? null
        : {
            outcome: plan.engine === "null" ? "not-applicable" : "passed",
            expectedMessages: measured!.acknowledgedCount,
            readMessages: measured!.acknowledgedCount,
            checkedBytes: measured!.acknowledgedCount * configuration.messages.sizeBytes,
            durationNs: 3e8,
            problems: [],
          },
    measured,
  };
}

function configure(plan: PlannedTrial): Configuration {
  const { base } = plan.scenario;
  const partitions = Number(plan.point["topology.partitionsPerTopic"] ?? base.partitions);
  const inFlight = Number(plan.point["load.inFlight"] ?? base.inFlight);
  const flush = plan.point["settings.flush"] ?? base.flush;
  const lingerMs = Number(plan.point["settings.lingerMs"] ?? base.lingerMs);
  const configuration: Configuration = {
    topology: { topicCount: 1, partitionsPerTopic: partitions },
    messages: messagesSchema.parse({ sizeBytes: base.sizeBytes, compressibleFraction: 0.5 }),
    load: { model: "closed", inFlight, producers: 1 },
    settings: { flush, lingerMs, batchSizeBytes: 16_384 },
  };
  if (plan.openFraction !== null) configuration.load = openLoad(plan, configuration, plan.openFraction);
  return configuration;
}

function openLoad(plan: PlannedTrial, configuration: Configuration, capacityFraction: number): Load {
  const ratePerSecond = Math.round(capacityOf(plan, configuration) * capacityFraction);
  return { model: "open", ratePerSecond, capacityFraction, arrivals: "poisson", inFlight: 100_000, producers: 1 };
}

/** Messages a second: a made-up model, shaped as the literature claims. */
function capacityOf(plan: PlannedTrial, configuration: Configuration): number {
  const partitions = configuration.topology.partitionsPerTopic;
  const { inFlight } = configuration.load;
  const flush = String(configuration.settings.flush);
  const slowdown = plan.engine === "partitioned-log" ? 1 / (1 + (partitions / 700) ** 0.9) : 1;
  const page = { null: 3.4e6, raw: 1.05e6, "partitioned-log": 9.6e5, commitlog: 6.4e5 }[plan.engine] ?? 3.3e5;
  if (flush === "sync") {
    const files = plan.engine === "partitioned-log" ? Math.min(partitions, inFlight) : 1;
    const syncsPerSecond = 4_400 / files ** 0.8;
    return Math.min(page, syncsPerSecond * Math.max(1, inFlight * 0.6));
  }
  const companionship = inFlight / (inFlight + 4);
  return page * slowdown * companionship * (flush.startsWith("every") ? 0.6 : 1);
}

const MISSED = "Missed its rate";

/** A backlog that grows as fast within the interval and is gone after it. */
function fallBehind(measured: Measured): void {
  measured.backlogAtEnd = 12_840;
  const measuring = measured.samples.filter(({ atNs }) => atNs > measured.warmupNs);
  for (const [at, sample] of measuring.entries()) {
    const share = (at + 1) / (measuring.length - 1);
    sample.backlogMessages = share > 1 ? 0 : Math.round(12_840 * share);
  }
}

function failuresOf(plan: PlannedTrial): string[] {
  const { id } = plan.scenario.record;
  const { engine, repetition, openFraction, point } = plan;
  if (id === "many-partitions" && engine === "partitioned-log" && openFraction === null) {
    if (point["topology.partitionsPerTopic"] === 10_000 && repetition === 2) {
      return ["LogFailedError: EMFILE, too many open files, while creating partition 8 191. Raise `ulimit -n`."];
    }
  }
  if (id === "device-ceiling" && engine === "commitlog" && openFraction === 0.9 && repetition === 1) {
    return [`${MISSED}: 12 840 messages were due and not sent when the measured interval ended.`];
  }
  if (id === HOSTILE.scenarioId && repetition === 0) return ["<img src=x onerror=window.hacked=1> \u001b[2J gone"];
  return [];
}

function measure(plan: PlannedTrial, configuration: Configuration, capacity: number, random: Random): Measured {
  const { load, messages, settings } = configuration;
  const durationNs = 2e9;
  const rate = load.model === "open" ? load.ratePerSecond : capacity;
  const acknowledgedCount = Math.round((rate * durationNs) / 1e9);
  const sync = settings.flush === "sync";
  const payloadBytes = acknowledgedCount * messages.sizeBytes;
  const finalFlushNs = plan.engine === "null" ? 0 : sync ? 2.1e5 : (payloadBytes / 1.5e9) * 1e9 * (1 + 0.1 * random());
  const durableNs = durationNs + finalFlushNs;
  const lingerNs = Number(settings.lingerMs) * 1e6;
  const pressure = load.model === "open" ? 1 / Math.max(0.05, 1 - load.capacityFraction) : 1;
  const closedServiceNs = (load.inFlight / rate) * 1e9;
  const medianNs =
    load.model === "open" ? (2e4 * pressure + lingerNs) * (plan.engine === "commitlog" ? 0.8 : 1) : closedServiceNs;
  const service = histogram(medianNs, 0.35, acknowledgedCount, random);
  const lag = histogram(900, 0.5, acknowledgedCount, random);
  const sampleCount = 8;
  const warmupNs = 1.2e9 + 3e8 * random();
  const batches = Math.ceil(acknowledgedCount / 15);
  return {
    acknowledgedCount,
    sentCount: acknowledgedCount + load.inFlight,
    warmupNs,
    steady: random() > 0.03,
    durabilityClass: plan.engine === "null" ? "D0" : sync ? "D2" : "D1",
    acknowledged: {
      messagesPerSecond: acknowledgedCount / (durationNs / 1e9),
      payloadBytesPerSecond: payloadBytes / (durationNs / 1e9),
      durationNs,
    },
    durable: {
      messagesPerSecond: acknowledgedCount / (durableNs / 1e9),
      payloadBytesPerSecond: payloadBytes / (durableNs / 1e9),
      durationNs: durableNs,
    },
    finalFlushNs,
    dirtyBytesAtEnd: sync ? 0 : Math.round(payloadBytes * 0.7),
    dirtyBytesAtStart: 0,
    ownDeviceBytes: payloadBytes,
    filesRolledInside: 1,
    clockStepNs: 0,
    responseTime: load.model === "open" ? histogram(medianNs * 1.15, 0.5, acknowledgedCount, random) : service,
    serviceTime: service,
    scheduleLag: load.model === "open" ? lag : null,
    backlogAtEnd: load.model === "open" ? 0 : null,
    counters: {
      appendedMessages: acknowledgedCount,
      acknowledgedMessages: acknowledgedCount,
      batches,
      logBytes: payloadBytes + batches * 61,
      indexEntries: batches,
      indexBytes: batches * 8,
      filesRolled: Math.floor(payloadBytes / 2 ** 30),
      writeCalls: batches,
      writtenBytes: payloadBytes + batches * 69,
      readCalls: 0,
      readBytes: 0,
      syncCalls: sync ? Math.ceil(acknowledgedCount / Math.max(1, load.inFlight * 0.6)) : 1,
      filesOpened: 3,
      filesCreated: 3,
      filesDeleted: 0,
    },
    samples: Array.from({ length: sampleCount }, (_, i) => {
      const warmUp = Math.min(1, 0.35 + 0.25 * i);
      return {
        atNs: Math.round(((i + 1) * (warmupNs + durationNs)) / sampleCount),
        durationNs: Math.round((warmupNs + durationNs) / sampleCount),
        acknowledgedMessages: Math.round(
          ((rate * (warmupNs + durationNs)) / 1e9 / sampleCount) * warmUp * (0.95 + 0.1 * random()),
        ),
        dirtyBytes: sync ? 4e6 : Math.round(payloadBytes * 0.12 * (i + 1)),
        writebackBytes: sync ? 0 : Math.round(payloadBytes * 0.02),
        deviceWrittenBytes: Math.round(payloadBytes / sampleCount),
        deviceUtilisation: Math.min(1, 0.4 + 0.5 * random()),
        processCpuFraction: 0.98,
        stealFraction: 0.01,
        garbageCollectionNs: 1e6,
        eventLoopDelayMaxNs: 4e6,
        eventLoopUtilisation: 0.97,
        detail: sampleDetail(sync, i === sampleCount - 2),
      };
    }),
    cpuUserNs: 1.4e9,
    cpuSystemNs: 6e8,
    eventLoopUtilisation: 0.98,
    maxResidentBytes: 2.1e8,
    tail: {
      percentile: 99.9,
      thresholdNs: medianNs * 8,
      count: Math.round(acknowledgedCount / 1000),
      examinedCount: Math.round(acknowledgedCount / 1000),
      causes: tailCausesOf(Math.round(acknowledgedCount / 1000), medianNs * 8, sync),
    },
    cost: {
      messageCount: acknowledgedCount + load.inFlight,
      payloadBytes,
      durationNs: durableNs,
      deviceBytes: plan.engine === "null" ? 2e6 : payloadBytes * 1.09,
      idleDeviceBytesPerSecond: 1e6,
      writtenBytes: payloadBytes + batches * 69,
      logBytes: payloadBytes + batches * 61,
      indexBytes: batches * 8,
      batches,
      writeCalls: batches,
      readCalls: 0,
      syncCalls: sync ? Math.ceil(acknowledgedCount / Math.max(1, load.inFlight * 0.6)) : 1,
      filesOpened: 3,
      systemCalls: {
        write: batches,
        fdatasync: sync ? Math.ceil(acknowledgedCount / Math.max(1, load.inFlight * 0.6)) : 1,
        open: 3,
      },
      cpuUserNs: 1.4e9,
      cpuSystemNs: 6e8,
      threads: { mainNs: 1.7e9, poolNs: 2e8, v8Ns: 6e7, samplerNs: 1e7, otherNs: 3e7 },
      mainThread: { observations: 400, engine: 0.72, broker: 0.5, generator: 0.2, eventLoop: 0.08 },
      minorFaults: Math.round(payloadBytes / 4096),
      majorFaults: 0,
      allocatedBytes: acknowledgedCount * 16,
    },
    samplerCpuFraction: 0.004,
    memoryGrowthBytesPerSecond: 1e5,
  };
}

/** Never changes, so that a run of a thousand trials is made in no time. */
const intervalLatencies = histogram(1e6, 0.5, 5_000, seededRandom(3));

function sampleDetail(sync: boolean, isRolling: boolean): Measured["samples"][number]["detail"] {
  return {
    responseTime: intervalLatencies,
    threads: { mainNs: 2e8, poolNs: 3e7, v8Ns: 1e7, samplerNs: 1e6, otherNs: 0 },
    mainThread: { observations: 40, engine: 0.7, broker: 0.5, generator: 0.2, eventLoop: 0.1 },
    processorWaitNs: 1e6,
    voluntarySwitches: 40,
    involuntarySwitches: 3,
    minorFaults: 900,
    majorFaults: 0,
    residentBytes: 2e8,
    anonymousBytes: 1e8,
    dispatchLagMaxBytes: null,
    events: {
      ...(sync ? { sync: { count: 12, totalNs: 3e7, longestNs: 4e6 } } : {}),
      ...(isRolling ? { "segment-roll": { count: 1, totalNs: 1e6, longestNs: 1e6 } } : {}),
    },
  };
}

function tailCausesOf(count: number, worstNs: number, sync: boolean): NonNullable<Measured["tail"]>["causes"] {
  if (count < 4) return [];
  const slow = Math.floor(count * 0.6);
  const collected = Math.floor(count * 0.25);
  return [
    { cause: sync ? "sync" : "writeback", count: slow, worstNs: worstNs * 4, presence: 0.03 },
    { cause: "garbage-collection", count: collected, worstNs: worstNs * 2, presence: 0.002 },
    { cause: "unexplained", count: count - slow - collected, worstNs: worstNs * 1.5, presence: null },
  ];
}

/** `count` samples, log-normal with a heavy last thousandth, laid down by quantile so that a million cost little. */
function histogram(medianNs: number, spread: number, count: number, random: Random): EncodedHistogram {
  const histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 60e9,
    numberOfSignificantValueDigits: 3,
    bitBucketSize: 64,
  });
  const jitter = Math.exp(0.05 * gaussian(random));
  const tail = 1 + 0.5 * random();
  let below = 0;
  for (let step = 1; step <= 400 && below < count; step++) {
    // Steps halve the share that is still above as they go: 400 steps reach beyond one in a hundred million.
    const above = Math.floor(count * Math.exp(-step / 20));
    const added = count - below - above;
    if (added <= 0) continue;
    const z = step / 20;
    const quantile =
      medianNs * jitter * Math.exp(spread * (z - 0.7) * tail ** 0.5) * (z > 6.9 ? 1 + (z - 6.9) * tail : 1);
    histogram.recordValueWithCount(Math.max(1, Math.min(59e9, Math.round(quantile))), added);
    below += added;
  }
  return { encoded: encodeIntoCompressedBase64(histogram), sampleCount: count, overflowCount: 0 };
}

function makeProbe(random: Random): Run["probe"] {
  const rows = [
    ["buffered-write", 65_536, 1.9e9],
    ["direct-write", 1_048_576, 1.32e9],
    ["sync-overwrite", 4096, 4096 / 130e-6],
    ["sync-append", 4096, 4096 / 220e-6],
    ["random-read", 4096, 4096 / 90e-6],
  ] as const;
  const own = rows.map(([id, blockSizeBytes, bytesPerSecond]) => ({
    id,
    tool: "logduel" as const,
    blockSizeBytes,
    operations: 4000,
    bytesPerSecond,
    operationsPerSecond: bytesPerSecond / blockSizeBytes,
    latency: histogram((blockSizeBytes / bytesPerSecond) * 1e9, 0.3, 4000, random),
    unavailable: null,
  }));
  return [
    ...own,
    {
      id: "sequential-read",
      tool: "logduel",
      blockSizeBytes: 131_072,
      operations: 0,
      bytesPerSecond: 0,
      operationsPerSecond: 0,
      latency: null,
      unavailable: "The page cache could not be emptied without root, so a cold read could not be made.",
    },
    { ...own[1]!, tool: "fio", bytesPerSecond: 1.41e9, latency: null },
  ];
}

const ENVIRONMENT: Run["environment"] = {
  fingerprint: "9f2c4e1ab07d",
  platform: "linux x64",
  kernel: "6.8.0-45-generic",
  distribution: "Ubuntu 24.04.1 LTS",
  cpu: { model: "AMD EPYC 7B13", logicalCores: 2, governor: null, turbo: null, siblings: null, quota: null },
  memoryBytes: 8_326_381_568,
  memoryLimitBytes: null,
  node: { version: "20.20.0", v8: "11.3.244.8", uv: "1.46.0", threadPoolSize: 4, flags: ["--max-old-space-size=512"] },
  device: {
    name: "vda",
    model: null,
    rotational: false,
    scheduler: "none",
    writeCache: "write back",
    fua: false,
    queueDepth: 256,
  },
  filesystem: {
    type: "ext4",
    mountPoint: "/",
    mountOptions: "rw,relatime,discard,errors=remount-ro",
    sizeBytes: 105_089_261_568,
    freeBytes: 61_000_000_000,
  },
  dirtySettings: { dirty_background_ratio: 10, dirty_ratio: 20, dirty_expire_centisecs: 3000 },
  loadAverage: [0.31, 0.4, 0.22],
  checksumProviders: { crc32c: "aws-crt", crc32: "@node-rs/crc32" },
  notPossible: [],
  notes: ["smartctl is not installed: the device's own error counters were not read."],
};

function gaussian(random: Random): number {
  return Math.sqrt(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random());
}
