/**
 * What the harness itself costs: the null engine through the whole closed loop with every latency recorded, the schedule
 * lag of an open loop into it, the recording of one latency, and what the sampler takes. Medians over rounds, which depend
 * on the machine's mood; the sampler is measured in duets (sampling-cost.ts), which do not.
 */
import Table from "cli-table3";
import { Command } from "commander";
import type { Load } from "../results/schema.js";
import { type Estimate, median } from "../results/statistics.js";
import { positiveInteger } from "./bench-options.js";
import { TRIAL_ENVIRONMENT } from "./environment.js";
import { findDuetProcessors } from "./gate/processors.js";
import { LatencyRecorder } from "./latency-recorder.js";
import { findMount } from "./mount.js";
import { driveNull } from "./null-load.js";
import { type DuetOfSampling, measureDuet, samplingCost } from "./sampling-cost.js";

const ROUNDS = 5;
const DUETS = 20;
/** As the profiles sample: full, and quick, whose trials are short. */
const SAMPLE_INTERVALS = [
  { intervalMs: 1_000, target: "< 1", shareOfDuets: 1 },
  { intervalMs: 100, target: "", shareOfDuets: 0.4 },
];
const RECORDS = 2_000_000;

const { duets, only } = new Command("node dist/runners/load-generator.bench.js")
  .description("Measures what the harness itself costs.")
  .option("--duets <n>", "with and without the sampler, once a second, ten seconds each", positiveInteger, DUETS)
  .option("--only <part>", "only the rows whose name contains this", "")
  .parse()
  .opts<{ duets: number; only: string }>();

const closed: Load = { model: "closed", inFlight: 1_024, producers: 1 };
const open: Load = {
  model: "open",
  ratePerSecond: 100_000,
  capacityFraction: 1,
  arrivals: "constant",
  inFlight: 65_536,
  producers: 1,
};
const rows: { name: string; target: string; measure: () => Promise<string> }[] = [
  {
    name: "null, closed loop, million messages/s",
    target: "≥ 3",
    measure: () => rounds(async () => million(await drive(closed))),
  },
  {
    name: "null, open loop at 100 000/s, schedule lag p99, µs",
    target: "< 100",
    measure: () => rounds(async () => (await drive(open)).lagP99Ns / 1e3),
  },
  { name: "one latency recorded, ns", target: "≤ 50", measure: () => rounds(async () => recordingNs()) },
  ...SAMPLE_INTERVALS.map(({ intervalMs, target, shareOfDuets }) => ({
    name: `sampling every ${intervalMs} ms, % of a processor`,
    target,
    measure: () => sampling(intervalMs, Math.ceil(duets * shareOfDuets)),
  })),
];
const table = new Table({ head: ["what", "median (min – max)", "target"], style: { head: [], border: [] } });
for (const { name, target, measure } of rows.filter((row) => row.name.includes(only))) {
  table.push([name, await measure(), target]);
}
console.log(table.toString());
console.log(
  "Sampling: CPU time per message of the null engine in a closed loop of 256 B, with the sampler against without it, in pairs of processes at the same time on one processor; in brackets the 95 % interval. In such a pair a process has half of the processor, so that the ratio, told behind it, is that of a load of half the speed.",
);

async function sampling(sampleIntervalMs: number, duetCount: number): Promise<string> {
  const processors = await findDuetProcessors();
  if (processors === null) return "not measured: it needs Linux and taskset";
  const { statPath: deviceStatPath } = await findMount(process.cwd());
  const measured: DuetOfSampling[] = [];
  while (measured.length < duetCount) {
    const sampledFirst = measured.length % 2 === 0;
    const threadPoolSize = Number(TRIAL_ENVIRONMENT.UV_THREADPOOL_SIZE);
    const processor = processors[1];
    const duet = await measureDuet({ sampleIntervalMs, deviceStatPath, threadPoolSize, processor, sampledFirst });
    if (duet === null) return "not measured: the machine is too busy to start two processes together";
    measured.push(duet);
  }
  const { ratio, processorShare } = samplingCost(measured);
  const words = ({ point, lower, upper }: Estimate, factor: number, digits: number) => {
    const show = (value: number) => (value * factor).toFixed(digits);
    return `${show(point)} (${Number.isFinite(lower) ? `${show(lower)} – ${show(upper)}` : "no interval"})`;
  };
  return `${words(processorShare, 100, 2)}; ratio ${words(ratio, 1, 4)}; ${measured.length} pairs`;
}

async function rounds(measure: () => Promise<number>): Promise<string> {
  const values: number[] = [];
  for (let round = 0; round < ROUNDS; round++) values.push(await measure());
  const show = (value: number) => value.toPrecision(3);
  return `${show(median(values))} (${show(Math.min(...values))} – ${show(Math.max(...values))})`;
}

async function drive(load: Load) {
  const maximumMessages = Number.MAX_SAFE_INTEGER;
  const driven = await driveNull({
    load,
    messageSizeBytes: 1_024,
    sampling: null,
    warmup: () => ({ minimumNs: 2e8, maximumNs: 1e9, maximumMessages, binNs: 5e7, windowBins: 4 }),
    durationNs: 1e9,
  });
  return driven!;
}

function million({ messageCount, durationNs }: { messageCount: number; durationNs: number }): number {
  return (messageCount / durationNs) * 1e3;
}

function recordingNs(): number {
  const latencies = Float64Array.from({ length: 4_096 }, (_, i) => Math.floor(1.004 ** i) + i);
  const recorder = new LatencyRecorder();
  const startedNs = process.hrtime.bigint();
  for (let i = 0; i < RECORDS; i++) recorder.record(latencies[i & 4_095]!);
  return Number(process.hrtime.bigint() - startedNs) / RECORDS;
}
