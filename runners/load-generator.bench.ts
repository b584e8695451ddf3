/**
 * What the harness itself costs: the null engine through the whole closed loop with every latency recorded, the schedule
 * lag of an open loop into it, the recording of one latency, and what the sampler takes. Medians over rounds; single ones depend on the machine's
 * mood.
 */
import Table from "cli-table3";
import { decodeFromCompressedBase64 } from "hdr-histogram-js";
import { DiskStorage, heap, loadEngine } from "../engines/registry.js";
import { type Load, messagesSchema } from "../results/schema.js";
import { median } from "../results/statistics.js";
import { clockFrom } from "./clock.js";
import { EventLog } from "./event-log.js";
import { LatencyRecorder } from "./latency-recorder.js";
import { LoadGenerator } from "./load-generator.js";
import { createMessageStream } from "./message-stream.js";
import { createPayloadPool } from "./payload-pool.js";
import { Sampler } from "./sampler.js";
import { SharedCells } from "./sampler-cells.js";

const ROUNDS = 5;
const SAMPLING_PAIRS = 10;
const RECORDS = 2_000_000;
const PARTITIONS = 16;
const definition = await loadEngine("null");
const messages = messagesSchema.parse({ sizeBytes: 1_024, compressibleFraction: 0.5 });
const values = createPayloadPool(messages, 1);

const table = new Table({ head: ["what", "median (min – max)", "target"], style: { head: [], border: [] } });
const closed: Load = { model: "closed", inFlight: 1_024, producers: 1 };
const open: Load = {
  model: "open",
  ratePerSecond: 100_000,
  capacityFraction: 1,
  arrivals: "constant",
  inFlight: 65_536,
  producers: 1,
};
table.push(
  await row("null, closed loop, million messages/s", "≥ 3", async () => (await drive(closed)).millionPerSecond),
);
table.push(
  await row("null, open loop at 100 000/s, schedule lag p99, µs", "< 100", async () => (await drive(open)).lagP99Us),
);
table.push(await row("one latency recorded, ns", "≤ 50", async () => recordingNs()));
table.push(await samplingRow());
console.log(table.toString());

/** Pairs of the same closed loop with and without the sampler, in the order ABBA: what sampling takes of the throughput. */
async function samplingRow(): Promise<string[]> {
  const costs: number[] = [];
  for (let pair = 0; pair < SAMPLING_PAIRS; pair++) {
    const order = pair % 2 === 0 ? [true, false] : [false, true];
    const rates = new Map<boolean, number>();
    for (const isSampled of order) rates.set(isSampled, (await drive(closed, isSampled)).millionPerSecond);
    costs.push(100 * (1 - rates.get(true)! / rates.get(false)!));
  }
  const show = (value: number) => value.toFixed(2);
  const interval = `${show(Math.min(...costs))} – ${show(Math.max(...costs))}`;
  return [
    `null, closed loop, cost of sampling, % (${costs.length} pairs)`,
    `${show(median(costs))} (${interval})`,
    "< 1",
  ];
}

async function row(what: string, target: string, measure: () => Promise<number>): Promise<string[]> {
  const values: number[] = [];
  for (let round = 0; round < ROUNDS; round++) values.push(await measure());
  const show = (value: number) => value.toPrecision(3);
  return [what, `${show(median(values))} (${show(Math.min(...values))} – ${show(Math.max(...values))})`, target];
}

async function drive(load: Load, isSampled = false): Promise<{ millionPerSecond: number; lagP99Us: number }> {
  const storage = new DiskStorage();
  const originNs = process.hrtime.bigint();
  const sampler = isSampled
    ? await Sampler.create({ originNs, intervalMs: 1_000, deviceStatPath: null, threadPoolSize: 4 })
    : null;
  const cells = sampler?.cells ?? new SharedCells();
  const generator = new LoadGenerator({
    clock: clockFrom(originNs),
    epochMs: Date.now(),
    load,
    seed: 1,
    stream: createMessageStream({ values, messages, partitionCount: PARTITIONS, producerCount: 1, seed: 1 }),
    cells,
    eventLog: new EventLog(originNs, cells.numbers),
    storageCounters: storage.counters,
  });
  const engine = await definition.open({ directory: "/", storage, heap, settings: {}, listener: generator });
  generator.attach(engine, await engine.createTopic("bench", PARTITIONS));
  await sampler?.start(null);
  const unlimited = Number.MAX_SAFE_INTEGER;
  await generator.warmUp({ minimumNs: 2e8, maximumNs: 1e9, maximumMessages: unlimited, binNs: 5e7, windowBins: 4 });
  const measured = await generator.measure({ durationNs: 1e9, maximumMessages: unlimited });
  await generator.flush();
  await sampler?.stop();
  await engine.close();
  const { scheduleLag } = generator.latencies();
  return {
    millionPerSecond: (measured.acknowledgedCount / measured.durationNs) * 1e3,
    lagP99Us: scheduleLag === null ? 0 : decodeFromCompressedBase64(scheduleLag.encoded).getValueAtPercentile(99) / 1e3,
  };
}

function recordingNs(): number {
  const latencies = Float64Array.from({ length: 4_096 }, (_, i) => Math.floor(1.004 ** i) + i);
  const recorder = new LatencyRecorder();
  const startedNs = process.hrtime.bigint();
  for (let i = 0; i < RECORDS; i++) recorder.record(latencies[i & 4_095]!);
  return Number(process.hrtime.bigint() - startedNs) / RECORDS;
}
