/** What a message cost, and what the slowest were put down to: for each engine, point and load by itself. */

import type { Cost, MainThread, Tail, TailCause } from "../results/schema.js";
import { binomialInterval, median } from "../results/statistics.js";
import type { Group, ScenarioAnalysis } from "./analysis.js";
import { formatBytes, formatShare, formatTime, groupThousands, threeDigits } from "./format.js";
import {
  axisCells,
  axisColumns,
  type Cell,
  engineCells,
  medianCell,
  NOTHING,
  number,
  type Table,
  text,
  withoutEmptyColumns,
} from "./tables.js";
import { classWords, loopWords, pointWords, rangeWords } from "./words.js";

const CAUSE_NAMES: Record<TailCause, string> = {
  sync: "Sync",
  "file-preallocate": "File reserved",
  "index-flush": "Index written",
  "segment-roll": "Segment rolled",
  "retention-delete": "Old segments deleted",
  "garbage-collection": "Garbage collection",
  "processor-wait": "No processor free",
  steal: "Time stolen",
  writeback: "Writeback burst",
  "engine-call": "Long engine call",
  "event-loop": "Long event-loop turn",
  generator: "Generator behind",
  unexplained: "Unexplained",
};
const CAUSES = Object.keys(CAUSE_NAMES) as TailCause[];

/** On one line; what is left is added up. */
const CAUSES_IN_WORDS = 3;
/** The most frequent kinds of system calls. */
const CALLS_IN_WORDS = 4;

interface GroupTail {
  count: number;
  examinedCount: number;
  thresholdsNs: number[];
  causes: ReadonlyMap<TailCause, { count: number; worstNs: number; presence: number | null }>;
}

/** One row for each group, one column for each cause that was met. */
export function tailTable(scenario: ScenarioAnalysis, slug: string): Table {
  const rows = tailsOf(scenario);
  return withoutEmptyColumns({
    id: `${slug}-tail-table`,
    caption:
      "Response times beyond p99.9 of each trial, by what was under way for half of each or longer; of several the rarest. Below each share the worst, and for how much of the measured time such events, long enough to matter, were under way: a cause met no more often than that explains nothing. Overlap is no proof. No processor free: the main thread was held up for a millisecond or more and, by the kernel's count over 50 ms or more, waited for a processor for half of all such time; what other threads waited, the pool's within a sync among them, is not told apart, and a shorter wait shows as what it held up.",
    columns: [
      ...axisColumns(scenario),
      text("engine", "Engine, class"),
      text("load", "Load"),
      number("beyond", "Beyond p99.9"),
      ...CAUSES.map((cause) => number(cause, CAUSE_NAMES[cause])),
    ],
    rows: rows.map(({ group, tail }) => ({
      isMuted: group.isBaseline,
      cells: [
        ...axisCells(scenario, group),
        ...engineCells(group),
        {
          text: groupThousands(tail.count),
          value: tail.count,
          note: `from ${formatTime(Math.min(...tail.thresholdsNs))}${tail.examinedCount < tail.count ? `, the longest ${groupThousands(tail.examinedCount)} examined` : ""}`,
        },
        ...CAUSES.map((cause) => causeCell(tail, cause)),
      ],
    })),
  });
}

/** For each engine "commitlog, open loop, D1, partitions = 8: sync 62 %, unexplained 38 %"; open loops where there are any. */
export function tailLines(scenario: ScenarioAnalysis): string[] {
  const all = tailsOf(scenario).filter(({ group, tail }) => !group.isBaseline && tail.examinedCount > 0);
  const open = all.filter(({ group }) => group.load.model === "open");
  // The highest load of the last point, where tails are longest.
  return scenario.record.engines.flatMap((engine) => {
    const last = (open.length > 0 ? open : all).findLast(({ group }) => group.engine === engine);
    if (last === undefined) return [];
    const { group, tail } = last;
    const where = [engine, loopWords(group.load), classWords(group.durabilityClasses)];
    const point = pointWords(scenario.axes, group.point);
    if (point !== "") where.push(point);
    const sorted = [...tail.causes].sort(([, a], [, b]) => b.count - a.count);
    const shown = sorted.slice(0, CAUSES_IN_WORDS);
    const causes = shown.map(
      ([cause, { count }]) => `${CAUSE_NAMES[cause].toLowerCase()} ${formatShare(count / tail.examinedCount)}`,
    );
    const rest = sorted.slice(CAUSES_IN_WORDS).reduce((sum, [, { count }]) => sum + count, 0);
    if (rest > 0) causes.push(`other causes ${formatShare(rest / tail.examinedCount)}`);
    return [`${where.join(", ")}: ${causes.join(", ")}`];
  });
}

/** Medians over trials of what a message of the measured interval cost, the final flush included. */
export function costTable(scenario: ScenarioAnalysis, slug: string): Table {
  const rows = scenario.groups.flatMap((group) => {
    const costs = group.trials.flatMap(({ measured }) => measured?.cost ?? []).filter((cost) => cost.messageCount > 0);
    return costs.length === 0 ? [] : [{ group, costs }];
  });
  return withoutEmptyColumns({
    id: `${slug}-cost-table`,
    caption: `What a message cost, final flush included: medians over trials. To the device: by its own count, less what others wrote to it while the trial read back. System calls: all that the engine made through its storage, by kind; none of Node itself, of the sampler, or of a collector. Engine and generator share the main thread: its CPU time is split by where the sampler saw it, an estimate from the looks of all trials${looksWords(rows)}, with its 95 % interval below.${splitWords(rows)}`,
    columns: [
      ...axisColumns(scenario),
      text("engine", "Engine, class"),
      text("load", "Load"),
      number("device", "To the device per payload byte"),
      number("systemCalls", "Storage's system calls per 1 000"),
      number("calls", "Writes, reads, syncs, opens per 1 000"),
      number("index", "Index bytes"),
      number("user", "CPU, user"),
      number("system", "CPU, system"),
      number("engineCpu", "Main thread in the engine"),
      number("generatorCpu", "Main thread in the generator"),
      number("producerCpu", "CPU in producer"),
      number("brokerCpu", "CPU in broker"),
      number("pool", "Thread pool"),
      number("faults", "Page faults per 1 000"),
      number("allocated", "Heap allocated"),
      number("sampler", "Sampler's CPU"),
    ],
    rows: rows.map(({ group, costs }) => {
      const cell = (figure: (cost: Cost) => number | null, format: (value: number) => string): Cell => {
        const values = costs.map(figure).filter((value) => value !== null);
        return medianCell(values, format);
      };
      const each = (amount: (cost: Cost) => number | null) => (cost: Cost) => {
        const value = amount(cost);
        return value === null ? null : value / cost.messageCount;
      };
      const sampler = group.trials.flatMap(({ measured }) => measured?.samplerCpuFraction ?? []);
      return {
        isMuted: group.isBaseline,
        cells: [
          ...axisCells(scenario, group),
          ...engineCells(group),
          cell(devicePerPayloadByte, threeDigits),
          systemCallsCell(costs),
          // Older runs tell no more.
          cell(
            each((cost) =>
              cost.systemCalls === null
                ? 1000 * (cost.writeCalls + cost.readCalls + cost.syncCalls + cost.filesOpened)
                : null,
            ),
            threeDigits,
          ),
          cell(
            each(({ indexBytes }) => indexBytes),
            formatBytes,
          ),
          cell(
            each(({ cpuUserNs }) => cpuUserNs),
            formatTime,
          ),
          cell(
            each(({ cpuSystemNs }) => cpuSystemNs),
            formatTime,
          ),
          sharedCell(costs, ({ engine }) => engine),
          sharedCell(costs, ({ generator }) => generator),
          sharedCell(costs, ({ engine, broker }) => (broker === null ? null : Math.max(0, engine - broker))),
          // All that the thread pool does are storage calls, which serve the log.
          sharedCell(costs, ({ broker }) => broker, "poolNs"),
          cell(
            each(({ threads }) => threads?.poolNs ?? null),
            formatTime,
          ),
          cell(
            each(({ minorFaults, majorFaults }) => 1000 * (minorFaults + majorFaults)),
            threeDigits,
          ),
          cell(
            each(({ allocatedBytes }) => allocatedBytes),
            formatBytes,
          ),
          medianCell(sampler, formatShare),
        ],
      };
    }),
  });
}

/**
 * CPU time a message of the main thread in one place, all looks of all trials together, with the exact interval of the
 * share that they are of. A place in which it was never seen has no time of its own, only an upper bound.
 * @param plus threads whose time is added
 */
function sharedCell(
  costs: readonly Cost[],
  shareOf: (mainThread: MainThread) => number | null,
  plus: "poolNs" | null = null,
): Cell {
  const seen = { looks: 0, here: 0, mainNs: 0, plusNs: 0, messages: 0 };
  for (const { threads, mainThread, messageCount } of costs) {
    const share = threads === null || mainThread === null ? null : shareOf(mainThread);
    if (share === null) continue;
    seen.looks += mainThread!.observations;
    seen.here += Math.round(share * mainThread!.observations);
    seen.mainNs += threads!.mainNs;
    seen.plusNs += plus === null ? 0 : threads![plus];
    seen.messages += messageCount;
  }
  if (seen.looks === 0) return NOTHING;
  const share = binomialInterval(seen.here, seen.looks);
  const perMessage = (of: number) => (of * seen.mainNs + seen.plusNs) / seen.messages;
  const value = perMessage(share.point);
  if (value === 0) return { text: "none seen", value, note: `at most ${formatTime(perMessage(share.upper))}` };
  const note = rangeWords(perMessage(share.lower), perMessage(share.upper), formatTime);
  return { text: formatTime(value), value, note };
}

/** The median over trials, with the kinds that all trials together made most of. */
function systemCallsCell(costs: readonly Cost[]): Cell {
  const known = costs.flatMap(({ systemCalls, messageCount }) =>
    systemCalls === null ? [] : [{ systemCalls, messageCount }],
  );
  if (known.length === 0) return NOTHING;
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const perThousand = median(
    known.map(({ systemCalls, messageCount }) => (1000 * sum(Object.values(systemCalls))) / messageCount),
  );
  const counts = new Map<string, number>();
  for (const { systemCalls } of known) {
    for (const [kind, made] of Object.entries(systemCalls)) counts.set(kind, (counts.get(kind) ?? 0) + made);
  }
  const all = sum([...counts.values()]);
  const kinds = [...counts].sort(([, a], [, b]) => b - a).slice(0, CALLS_IN_WORDS);
  const words = kinds.map(([kind, made]) => `${kind}\u00a0${formatShare(made / all)}`);
  return {
    text: threeDigits(perThousand),
    value: perThousand,
    ...(words.length === 0 ? {} : { note: words.join(", ") }),
  };
}

type Rows = readonly { costs: readonly Cost[] }[];

/** ", 9 to 21 for a row"; empty if nobody looked. */
function looksWords(rows: Rows): string {
  const looks = rows.flatMap(({ costs }) => {
    const sum = costs.reduce((total, { mainThread }) => total + (mainThread?.observations ?? 0), 0);
    return sum === 0 ? [] : [sum];
  });
  if (looks.length === 0) return "";
  const [fewest, most] = [Math.min(...looks), Math.max(...looks)];
  return `, ${fewest === most ? "" : `${groupThousands(fewest)} to `}${groupThousands(most)} for a row`;
}

/** What the columns of producer and broker mean, if any row has them. */
function splitWords(rows: Rows): string {
  if (!rows.some(({ costs }) => costs.some(({ mainThread }) => mainThread?.broker != null))) return "";
  return " So are CPU in producer and in broker, of the main thread in the engine, by what the engine said it was at. All of the thread pool (syncs, other storage calls) counts as the broker's, the event loop and V8's threads as neither's. An engine whose append encodes each record in its place says that all of it is the broker's: its producer is never seen, and its time is not apart. An engine that does not say has neither figure.";
}

function devicePerPayloadByte({
  deviceBytes,
  idleDeviceBytesPerSecond,
  durationNs,
  payloadBytes,
}: Cost): number | null {
  if (deviceBytes === null || payloadBytes === 0) return null;
  const others = ((idleDeviceBytesPerSecond ?? 0) * durationNs) / 1e9;
  return Math.max(0, deviceBytes - others) / payloadBytes;
}

function tailsOf(scenario: ScenarioAnalysis): { group: Group; tail: GroupTail }[] {
  return scenario.groups.flatMap((group) => {
    const tails = group.trials.flatMap(({ measured }) => measured?.tail ?? []).filter(({ count }) => count > 0);
    return tails.length === 0 ? [] : [{ group, tail: addedUp(tails) }];
  });
}

/** Counts of all trials added; presence is the trials' mean, each as long as the others. */
function addedUp(tails: readonly Tail[]): GroupTail {
  const causes = new Map<TailCause, { count: number; worstNs: number; presence: number | null }>();
  for (const cause of CAUSES) {
    const found = tails.flatMap((tail) => tail.causes.filter((entry) => entry.cause === cause));
    if (found.length === 0) continue;
    const presences = found.flatMap(({ presence }) => presence ?? []);
    causes.set(cause, {
      count: found.reduce((sum, { count }) => sum + count, 0),
      worstNs: Math.max(...found.map(({ worstNs }) => worstNs)),
      presence: presences.length === 0 ? null : presences.reduce((sum, share) => sum + share, 0) / presences.length,
    });
  }
  return {
    count: tails.reduce((sum, { count }) => sum + count, 0),
    examinedCount: tails.reduce((sum, { examinedCount }) => sum + examinedCount, 0),
    thresholdsNs: tails.map(({ thresholdNs }) => thresholdNs),
    causes,
  };
}

function causeCell({ causes, examinedCount }: GroupTail, cause: TailCause): Cell {
  const entry = causes.get(cause);
  if (entry === undefined) return NOTHING;
  const share = entry.count / examinedCount;
  const presence = entry.presence === null ? "" : `, ${formatShare(entry.presence)} of the time`;
  return { text: formatShare(share), value: share, note: `worst ${formatTime(entry.worstNs)}${presence}` };
}
