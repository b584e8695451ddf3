/** The environment, the method and the command of a run in words, for page and Markdown. */

import { agreementWords } from "../results/agreement.js";
import type { Run } from "../results/schema.js";
import { syncCost } from "../results/sync-cost.js";
import { formatBytes, formatShare, formatTime, groupThousands, threeDigits } from "./format.js";
import { CLASS_MEANINGS, countWords, listWords, shellWords } from "./words.js";

/** "2 × AMD EPYC 7B13, ext4 on vda, Node 20.20.0". */
export function machineWords(run: Run): string {
  const { cpu, filesystem, device, node } = run.environment;
  const disk = device.model ?? device.name ?? "an unnamed device";
  return `${cpu.logicalCores} × ${cpu.model}, ${filesystem.type} on ${disk}, Node ${node.version}`;
}

export function startedWords(run: Run): string {
  const started = `${run.startedAt.slice(0, 16).replace("T", " ")} UTC`;
  if (run.finishedAt === null) return started;
  const tookNs = (Date.parse(run.finishedAt) - Date.parse(run.startedAt)) * 1e6;
  return `${started}, took ${tookNs >= 120e9 ? `${Math.round(tookNs / 60e9)} minutes` : formatTime(tookNs)}`;
}

export function classMeaningsWords(): string {
  return Object.entries(CLASS_MEANINGS)
    .map(([name, meaning]) => `${name} ${meaning}`)
    .join("; ");
}

export function commandWords({ command }: Run): string {
  return ["npm run bench", ...(command.length === 0 ? [] : ["--", ...shellWords(command)])].join(" ");
}

/** What a distrustful reader asks about every figure. */
export const METHOD: readonly string[] = [
  "A trial is a fresh process with a fresh directory on the disk named below. Trials of the things compared were interleaved in a seeded random order, so that a drift of the machine hits all alike.",
  "Engine, load generator and recorder share the main thread of a trial's process, as a client and a store in one program would; storage calls run in the pool's threads, the sampler in one of its own, and no thread is pinned to a processor of its own; whether the process as a whole was, the environment below says. So each waits for the other, and no message crosses a network; null, driven in the same way, shows what the harness alone costs.",
  "Acknowledged throughput divides what was acknowledged in the measured time by that time. Durable throughput is of the same messages, but the clock stops only when a final fdatasync of all of them has returned. Null stores nothing and has no durable figure of its own.",
  "In a closed loop a new message waits for the acknowledgement of an older one: it finds the ceiling of throughput, and its latencies describe a load that waits. In an open loop messages are due at intended moments that do not wait; response time counts from the intended moment, so that nothing is left out while an engine stalls. Service time counts from the actual sending, schedule lag is the difference. A trial that could not keep up with its rate has failed: what was due and not sent is drawn over time, and none of its figures counts.",
  "The trial is the unit: figures are medians over trials, with a bootstrap interval of 95 %. Of fewer than 6 trials that interval is their whole range, which holds the true median with 75 % for 3 trials and 94 % for 5. One trial has no interval.",
  "Engines are compared by the ratio of trials of equal repetition (Hodges and Lehmann's estimate with its exact interval). It can differ a little from the quotient of the two figures named beside it. If the interval includes 1, the engines cannot be told apart. Figures of different durability classes are not compared.",
  "Percentiles are never averaged: the histograms of all trials are added. A percentile is given from 100 samples beyond it on; with 10 to 99 it is marked ≈ and has its rank interval; with fewer it is not shown.",
  "Shares of raw (one file, one write after another), null (accepts and discards) and the device are of the same run: both go through the same loop with the message size, batch size, linger, flush policy and messages in flight of the engine that they limit, before all trials and again after them (by a profile that is short of time only those of its first scenario). A limit that changed by more than 10 % meanwhile makes the figures beside it doubtful. The share is Hodges and Lehmann's estimate with its exact interval; a limit from another point is named. Within 2× of null a figure is called harness-bound: it says as much about the harness as about the engine.",
  "Of the device: acknowledged payload is set against the probe's buffered sequential write, durable payload against its direct sequential write, each at the fastest block size probed.",
  "Each figure is valid, doubtful or invalid, judged by how it came about and never by its value: a clock step, stolen time, a generator behind its schedule, no steady state, other writers on the device, dirty pages left, a working set that fits in memory, no file rolled inside or in the warm-up before, too few samples, a sync that costs nothing, limits that drifted. Nothing is concluded from an invalid figure, and a sentence that rests on a doubtful one says so.",
  "After each trial everything acknowledged, but for what retention had deleted, was read back through the engine and checked for count, order and content. A trial that fails this, misses its rate, throws or hangs has no figures; it is listed with its cause and never ranked.",
];

/** Whether a sync costs anything here, and what. */
function syncWords({ probe }: Run): string {
  const { overwriteNs, appendNs, isFree } = syncCost(probe);
  if (isFree === null) return "what it costs was not measured";
  const costs = [
    ...(overwriteNs === null ? [] : [`a page overwritten and synced takes ${formatTime(overwriteNs)}`]),
    ...(appendNs === null ? [] : [`a page appended and synced ${formatTime(appendNs)}`]),
  ];
  const verdict = isFree
    ? "it costs nothing, so it reaches no disk, and no durable figure is valid"
    : "it costs something";
  return `${verdict}: ${listWords(costs)}`;
}

/** Trials that were thrown away for what others wrote: choosing among attempts is told. */
function otherWritersWords({ trials, searches, allowsNeighbours }: Run): string {
  if (allowsNeighbours) return "no trial was repeated for them: what was written beside it is in its grade";
  const all = [...trials, ...searches.flatMap(({ steps }) => steps.map(({ trial }) => trial))];
  const repeated = all.filter(({ disturbedAttempts }) => disturbedAttempts.length > 0);
  const shares = repeated.flatMap(({ disturbedAttempts }) => disturbedAttempts);
  if (shares.length === 0) return "no trial had to be repeated for them";
  const range = [Math.min(...shares), Math.max(...shares)].map((share) => formatShare(share));
  const words = range[0] === range[1] ? range[0] : range.join(" to ");
  return `${countWords(shares.length, "attempt")} at ${countWords(repeated.length, "trial")} ${shares.length === 1 ? "was" : "were"} thrown away and repeated, because others wrote ${words} of what the device wrote`;
}

/** Label and value of everything that may have shaped the figures. */
export function environmentRows(run: Run): [string, string][] {
  const { environment } = run;
  const { cpu, node, device, filesystem } = environment;
  const yesNo = (value: boolean | null) => (value === null ? "unknown" : value ? "yes" : "no");
  const named = (record: Record<string, string | number>) =>
    Object.entries(record)
      .map(([name, value]) => `${name} ${value}`)
      .join(", ") || "none recorded";
  const { commit, dirty, version } = run.code;
  const state = dirty === true ? " with uncommitted changes" : "";
  return [
    [
      "Processor",
      `${cpu.model}, ${cpu.logicalCores} logical cores, sharing physical ones ${yesNo(cpu.siblings)}, governor ${cpu.governor ?? "unknown"}, turbo ${yesNo(cpu.turbo)}${cpu.quota === null ? "" : `, limited to ${threeDigits(cpu.quota)} processors`}`,
    ],
    [
      "Memory",
      `${formatBytes(environment.memoryBytes)}${environment.memoryLimitBytes === null ? "" : `, limited to ${formatBytes(environment.memoryLimitBytes)}`}`,
    ],
    ["System", `${environment.distribution}, kernel ${environment.kernel}, ${environment.platform}`],
    [
      "Node",
      `${node.version}, V8 ${node.v8}, libuv ${node.uv}, ${node.threadPoolSize} threads in its pool; every trial under ${node.flags.join(" ") || "no flags"}`,
    ],
    [
      "Device",
      `${device.name ?? "unknown"}, model ${device.model ?? "unknown"}, rotational ${yesNo(device.rotational)}, scheduler ${device.scheduler ?? "unknown"}, write cache ${device.writeCache ?? "unknown"}, FUA ${yesNo(device.fua)}, queue depth ${device.queueDepth === null ? "unknown" : groupThousands(device.queueDepth)}`,
    ],
    [
      "Filesystem",
      `${filesystem.type} at ${filesystem.mountPoint} (${filesystem.mountOptions}), ${formatBytes(filesystem.freeBytes)} of ${formatBytes(filesystem.sizeBytes)} free`,
    ],
    ["Dirty page settings", named(environment.dirtySettings)],
    ["Load average before", listWords(environment.loadAverage.map(String)) || "unknown"],
    ["Load average after", listWords(run.loadAverageAfter.map(String)) || "unknown"],
    ["Checksums by", named(environment.checksumProviders)],
    ["Code", `logduel ${version}, commit ${commit ?? "unknown"}${state}`],
    ["Packages", named(run.packages)],
    ["Seed", String(run.seed)],
    ["Fingerprint", environment.fingerprint],
    [
      "Cross-check",
      run.agreement === null ? "fio was not there to compare with" : agreementWords(run.agreement).sentence,
    ],
    ["A sync", syncWords(run)],
    ["Other writers", otherWritersWords(run)],
    ...environment.notPossible.map((rule): [string, string] => ["Not possible on this machine", rule]),
    ...environment.notes.map((note): [string, string] => ["Note", note]),
  ];
}
