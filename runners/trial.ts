/** The process of one trial: one engine, one load, one fresh directory. Input and outcome are single IPC messages. */
import { existsSync, readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import type { EngineCounters, EngineDefinition, PartitionHandle, StorageEngine } from "../engines/engine.js";
import { DiskStorage, heap, loadEngine } from "../engines/registry.js";
import type { Configuration, DurabilityClass, Measured, Throughput, Verification } from "../results/schema.js";
import { TAIL_CAUSES } from "../results/schema.js";
import { clockFrom, wallClockOffsetNs } from "./clock.js";
import { CostMeter, IdleLook } from "./cost-meter.js";
import { EventLog } from "./event-log.js";
import { openMainSchedstat, parseMemory, parseProcessIo } from "./kernel-counters.js";
import { EngineFaultError, LoadGenerator, type MeasuredLoad } from "./load-generator.js";
import { createMessageStream, type MessageStream } from "./message-stream.js";
import { endWithChildren } from "./orphan.js";
import { createPayloadPool, PayloadFileError } from "./payload-pool.js";
import { eventsOfSamples, leakWarning, memoryGrowth } from "./sample-analysis.js";
import { Sampler } from "./sampler.js";
import { attributeTail } from "./tail-causes.js";
import { ThreadClock } from "./thread-times.js";
import { BROKEN_CLAIM, type TrialInput, type TrialOutcome, trialInputSchema } from "./trial-protocol.js";
import { verify } from "./verification.js";

/** libuv's default where the variable is not set. */
const THREAD_POOL_SIZE = Number(process.env.UV_THREADPOOL_SIZE ?? 4);
/** Ends of files that hold no message count as log, too. */
const RETAINED_SHARE = 0.95;
const NO_FIGURES = { status: "failed", measured: null } as const;

// The terminal sends Ctrl-C to this process too; the command decides what becomes of it.
process.on("SIGINT", () => {});
process.on("disconnect", endWithChildren);
process.on("uncaughtException", (error) => answer(failure(error)));
process.once("message", (message) => {
  const input = trialInputSchema.parse(message);
  runTrial(input).then(answer, (error) => answer(failure(error)));
});

function answer(outcome: TrialOutcome): void {
  process.send!(outcome, () => process.exit(0));
}

/** Opens the engine, loads it, flushes, closes, reopens and reads everything back. */
async function runTrial(input: TrialInput): Promise<TrialOutcome> {
  const { configuration, seed } = input;
  const originNs = process.hrtime.bigint();
  const epochMs = Date.now();
  const clock = clockFrom(originNs);
  const sampler = await Sampler.create({
    originNs,
    intervalMs: input.sampleIntervalMs,
    deviceStatPath: input.deviceStatPath,
    threadPoolSize: THREAD_POOL_SIZE,
  });
  const eventLog = new EventLog(originNs, sampler.cells.numbers, openMainSchedstat());
  const { topicCount, partitionsPerTopic } = configuration.topology;
  const stream = createMessageStream({
    values: createPayloadPool(configuration.messages, seed),
    messages: configuration.messages,
    partitionCount: topicCount * partitionsPerTopic,
    producerCount: configuration.load.producers,
    seed,
  });
  const definition = await loadEngine(input.engine);
  const storage = new DiskStorage();
  const generator = new LoadGenerator({
    clock,
    epochMs,
    load: configuration.load,
    seed,
    stream,
    cells: sampler.cells,
    eventLog,
    storageCounters: storage.counters,
  });
  const engine = await definition.open({
    directory: input.directory,
    storage,
    heap,
    settings: configuration.settings,
    listener: generator,
    stage: sampler.cells.stage,
  });
  const handles = await createTopics(engine, configuration);
  generator.attach(engine, handles);

  const pagesAtStart = readMemory();
  const offsetAtStartNs = wallClockOffsetNs();
  const ownBytesAtStart = readOwnDeviceBytes();
  await sampler.start();
  const warmup = await generator.warmUp(input.limits.warmup);
  const rolledBefore = engine.counters().filesRolled;
  const countsBefore = generator.acknowledgedByPartition();
  const costMeter = new CostMeter({
    nowNs: clock.nowNs,
    counters: () => engine.counters(),
    systemCalls: () => storage.systemCalls(),
    cells: sampler.cells,
    threads: new ThreadClock(sampler.threadId, THREAD_POOL_SIZE),
    deviceStatPath: input.deviceStatPath,
  });
  const cpuBefore = process.cpuUsage();
  const loopBefore = performance.eventLoopUtilization();
  const load = await generator.measure(input.limits.measure);
  const cpu = process.cpuUsage(cpuBefore);
  const { utilization: eventLoopUtilisation } = performance.eventLoopUtilization(loopBefore);
  const { logBytes: logBytesAtEnd, filesRolled: rolledAtEnd } = engine.counters();
  const countsAtEnd = generator.acknowledgedByPartition();
  const dirtyBytesAtEnd = readMemory()?.dirtyBytes ?? null;
  const flushStartedNs = clock.nowNs();
  await generator.flush();
  const flushedNs = clock.nowNs();
  const counts = generator.acknowledgedByPartition();
  const spent = costMeter.stop();
  const { samples, ...sampled } = await sampler.stop();
  const ownBytesAtEnd = readOwnDeviceBytes();
  const clockStepNs = wallClockOffsetNs() - offsetAtStartNs;
  const counters = pickCounters(engine.counters());
  const warnings: string[] = [];
  if (!warmup.steady) warnings.push(notSteady(warmup.durationNs));
  const durabilityClass = deriveDurability({
    claimed: engine.durability,
    unsyncedCount: generator.unsyncedCount,
    isWritten:
      (configuration.settings.compression ?? "none") !== "none" || logBytesAtEnd >= stream.payloadBytes(countsAtEnd),
    warnings,
  });
  await engine.close();
  const tail = attributeTail(
    generator.tail(),
    [...eventLog.events(), ...sampled.collections, ...eventsOfSamples(samples, sampled.startedNs)],
    { startNs: load.startedNs, endNs: flushedNs },
    TAIL_CAUSES,
  );
  const memoryGrowthBytesPerSecond = memoryGrowth(samples, load.startedNs - sampled.startedNs);
  const leak = leakWarning(memoryGrowthBytesPerSecond, load.sentCount, load.durationNs);
  if (leak !== null) warnings.push(leak);

  // Reading back writes nothing, so what reaches the device meanwhile is others'.
  const idleLook = new IdleLook(input.deviceStatPath, clock.nowNs);
  const verification = await verifyReopened({
    definition,
    input,
    counts,
    keptCount: keptByRetention(configuration.settings, counters),
    stream,
    warnings,
    nowNs: clock.nowNs,
  });
  const idleDeviceBytesPerSecond = idleLook.bytesPerSecond();
  if (verification.outcome === "failed") {
    return { ...NO_FIGURES, kind: "data", failures: verification.problems, verification, warnings };
  }
  // Of all the trial's messages: where sizes vary, those of the interval cannot be told from those of the warm-up.
  const sizeBytes = stream.payloadBytes(counts) / Math.max(1, sum(counts));
  const latencies = generator.latencies();
  const measured: Measured = {
    acknowledgedCount: load.acknowledgedCount,
    sentCount: load.sentCount,
    warmupNs: warmup.durationNs,
    steady: warmup.steady,
    durabilityClass,
    acknowledged: throughput(load, sizeBytes, load.durationNs),
    durable: throughput(load, sizeBytes, flushedNs - load.startedNs),
    finalFlushNs: flushedNs - flushStartedNs,
    dirtyBytesAtEnd,
    dirtyBytesAtStart: pagesAtStart === null ? null : pagesAtStart.dirtyBytes + pagesAtStart.writebackBytes,
    ownDeviceBytes:
      ownBytesAtStart === null || ownBytesAtEnd === null ? null : Math.max(0, ownBytesAtEnd - ownBytesAtStart),
    filesRolledInside: rolledAtEnd - rolledBefore,
    clockStepNs,
    ...latencies,
    backlogAtEnd: load.backlogAtEnd,
    counters,
    samples: withBacklog(samples, generator, sampled.startedNs),
    cpuUserNs: cpu.user * 1000,
    cpuSystemNs: cpu.system * 1000,
    eventLoopUtilisation,
    maxResidentBytes: process.resourceUsage().maxRSS * 1024,
    tail,
    cost: {
      ...spent,
      messageCount: sum(counts) - sum(countsBefore),
      payloadBytes: stream.payloadBytes(counts) - stream.payloadBytes(countsBefore),
      idleDeviceBytesPerSecond,
    },
    samplerCpuFraction: sampled.samplerCpuFraction,
    memoryGrowthBytesPerSecond,
  };
  const failure = load.missedRate ?? nothingAcknowledged(configuration, load);
  if (failure === null) return { status: "ok", measured, verification, warnings };
  return { status: "failed", kind: "rate", failures: [failure], measured, verification, warnings };
}

function withBacklog(samples: Measured["samples"], generator: LoadGenerator, startedNs: number): Measured["samples"] {
  const backlogs = generator.backlogs(samples.map(({ atNs }) => startedNs + atNs));
  return samples.map((sample, at) => {
    const backlogMessages = backlogs[at] ?? null;
    return backlogMessages === null ? sample : { ...sample, backlogMessages };
  });
}

/** A closed loop that brought nothing has no rate, and none of 0 either: the interval was too short to see one. */
function nothingAcknowledged({ load }: Configuration, { acknowledgedCount, sentCount, durationNs }: MeasuredLoad) {
  if (load.model === "open" || acknowledgedCount > 0) return null;
  return `Nothing was acknowledged within the measured interval of ${(durationNs / 1e6).toFixed(0)} ms, of ${sentCount} messages sent in it: it is too short for this engine and flush policy.`;
}

async function createTopics(engine: StorageEngine, configuration: Configuration): Promise<PartitionHandle[]> {
  const { topicCount, partitionsPerTopic } = configuration.topology;
  const handles: PartitionHandle[] = [];
  for (let topic = 0; topic < topicCount; topic++) {
    handles.push(...(await engine.createTopic(`topic-${topic}`, partitionsPerTopic)));
  }
  return handles;
}

/** Reopens the directory, so that what is read back is what the files hold and not what the engine remembers. */
async function verifyReopened(closed: {
  definition: EngineDefinition;
  input: TrialInput;
  counts: readonly number[];
  keptCount: number | null;
  stream: MessageStream;
  warnings: string[];
  nowNs: () => number;
}): Promise<Verification> {
  const { definition, input, counts, keptCount, stream, warnings, nowNs } = closed;
  const expectedMessages = sum(counts);
  if (!definition.storesMessages) {
    return {
      outcome: "not-applicable",
      expectedMessages,
      readMessages: 0,
      checkedBytes: 0,
      durationNs: 0,
      problems: [],
    };
  }
  const engine = await definition.open({
    directory: input.directory,
    storage: new DiskStorage(),
    heap,
    settings: input.configuration.settings,
    listener: { acknowledged: () => {}, failed: () => {} },
  });
  for (const repair of engine.recovery.repairs)
    warnings.push(`Reopening after a clean close needed a repair: ${repair}`);
  const handles = await createTopics(engine, input.configuration);
  const { partitionsPerTopic } = input.configuration.topology;
  const partitions = handles.map((handle, place) => ({
    handle,
    name: `topic-${Math.floor(place / partitionsPerTopic)}/${place % partitionsPerTopic}`,
    count: counts[place]!,
  }));
  const verification = await verify(engine, { partitions, stream, keptCount }, nowNs);
  await engine.close();
  return verification;
}

/**
 * How many messages retention leaves at least, by the log's bytes that it must leave; null where it deletes nothing that is
 * as young as a trial's messages. Engines limit the log as a whole or each partition: the whole keeps as much either way.
 */
function keptByRetention(
  { retentionBytes }: Configuration["settings"],
  { logBytes, appendedMessages }: Measured["counters"],
): number | null {
  if (typeof retentionBytes !== "number" || retentionBytes < 0) return null;
  return Math.floor((RETAINED_SHARE * retentionBytes * appendedMessages) / Math.max(1, logBytes));
}

/** What the acknowledgements meant: never more than the engine claims, and less where its deeds did not match. */
function deriveDurability(evidence: {
  claimed: DurabilityClass;
  unsyncedCount: number;
  isWritten: boolean;
  warnings: string[];
}): DurabilityClass {
  const { claimed, unsyncedCount, isWritten, warnings } = evidence;
  if (claimed === "D0") return "D0";
  if (!isWritten) {
    warnings.push(`${BROKEN_CLAIM} ${claimed}, but had written less than it had acknowledged: counted as D0.`);
    return "D0";
  }
  if (claimed === "D2" && unsyncedCount > 0) {
    warnings.push(
      `${BROKEN_CLAIM} D2, but acknowledged ${unsyncedCount} messages with no sync since they were appended: counted as D1.`,
    );
    return "D1";
  }
  return claimed;
}

function throughput(load: MeasuredLoad, sizeBytes: number, durationNs: number): Throughput {
  const messagesPerSecond = (load.acknowledgedCount * 1e9) / durationNs;
  return { messagesPerSecond, payloadBytesPerSecond: messagesPerSecond * sizeBytes, durationNs };
}

function notSteady(durationNs: number): string {
  return `The throughput did not become steady within ${(durationNs / 1e9).toFixed(1)} s of warm-up.`;
}

function readMemory(): ReturnType<typeof parseMemory> | null {
  return existsSync("/proc/meminfo") ? parseMemory(readFileSync("/proc/meminfo", "utf8")) : null;
}

function readOwnDeviceBytes(): number | null {
  return existsSync("/proc/self/io") ? parseProcessIo(readFileSync("/proc/self/io", "utf8")).writtenBytes : null;
}

function pickCounters(counters: EngineCounters): Measured["counters"] {
  return {
    appendedMessages: counters.appendedMessages,
    acknowledgedMessages: counters.acknowledgedMessages,
    batches: counters.batches,
    logBytes: counters.logBytes,
    indexEntries: counters.indexEntries,
    indexBytes: counters.indexBytes,
    filesRolled: counters.filesRolled,
    writeCalls: counters.writeCalls,
    writtenBytes: counters.writtenBytes,
    readCalls: counters.readCalls,
    readBytes: counters.readBytes,
    syncCalls: counters.syncCalls,
    filesOpened: counters.filesOpened,
    filesCreated: counters.filesCreated,
    filesDeleted: counters.filesDeleted,
  };
}

function failure(error: unknown): TrialOutcome {
  const kind = error instanceof PayloadFileError ? "input" : "engine";
  return { ...NO_FIGURES, kind, failures: [describe(error)], verification: null, warnings: [] };
}

/** One line: what failed, and what caused it. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = [EngineFaultError, PayloadFileError].some((type) => error instanceof type) ? "" : `${error.name}: `;
  const code = (error as { code?: unknown }).code;
  const suffix = typeof code === "string" && !error.message.includes(code) ? ` (${code})` : "";
  return `${own}${error.message}${suffix}`;
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
