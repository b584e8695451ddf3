import type { GateCounter } from "../../results/gate.js";
import { compareCounter } from "./decide.js";
import type { GateSetup } from "./gate.js";
import type { Counted, Subject } from "./measure.js";
import type { CountedWorkload } from "./workloads.js";

const TITLES: Readonly<Record<string, string>> = {
  batches: "batches",
  logBytes: "log bytes",
  indexEntries: "index entries",
  indexBytes: "index bytes",
  filesRolled: "files rolled",
  writeCalls: "write calls",
  writtenBytes: "bytes written",
  readCalls: "read calls",
  readBytes: "bytes read",
  syncCalls: "sync calls",
  filesOpened: "files opened",
  filesCreated: "files created",
  filesDeleted: "files deleted",
  copyCalls: "copies in JavaScript",
  copiedBytes: "bytes copied in JavaScript",
  kernelCalls: "kernel calls",
  foreignCalls: "calls of native libraries",
  allocatedBytes: "bytes allocated",
};

/**
 * How much of a difference is none: for each message, and in all. The engine's own counters are exact; the tallies are of
 * the whole process, whose start-up copies and allocates a little that varies. So a copy for each batch shows, and one for
 * each file does not.
 */
const RESOLUTIONS: Readonly<Record<string, { perMessage: number; total: number }>> = {
  copyCalls: { perMessage: 0.005, total: 5 },
  copiedBytes: { perMessage: 0.5, total: 4_096 },
  kernelCalls: { perMessage: 0.001, total: 5 },
  foreignCalls: { perMessage: 0.001, total: 5 },
  allocatedBytes: { perMessage: 24, total: 4_000_000 },
};

/** What an acknowledgement meant on each side. */
export type DurabilityClasses = Record<"reference" | "candidate", Counted["durabilityClass"]>;

/**
 * Runs a counted workload twice on each side and compares; where anything rose or fell, twice more, so that a
 * chance difference shows as one. (What does not repeat would not do so by repeating it.) @throws TrialFailedError
 */
export async function compareCounters(
  { bench, seed, instruments }: GateSetup,
  subject: Subject,
  workload: CountedWorkload,
): Promise<{ counters: GateCounter[]; classes: DurabilityClasses }> {
  const reference: Record<string, number>[] = [];
  const candidate: Record<string, number>[] = [];
  const classes: DurabilityClasses = { reference: null, candidate: null };
  const repeat = async () => {
    for (const arm of ["reference", "candidate", "candidate", "reference"] as const) {
      const { totals, durabilityClass } = await instruments.count(bench, workload, { subject, arm, seed });
      classes[arm] = durabilityClass;
      (arm === "reference" ? reference : candidate).push(totals);
    }
    return compareTotals(`${subject.name}/${workload.id}`, messageCountOf(workload), reference, candidate);
  };
  const compared = await repeat();
  const differs = compared.some(({ verdict }) => verdict === "regression" || verdict === "improvement");
  return { counters: differs ? await repeat() : compared, classes };
}

export function messageCountOf({ warmupMessages, measuredMessages }: CountedWorkload): number {
  return warmupMessages + measuredMessages;
}

/** Compares the counters that every repetition has. Pure. */
export function compareTotals(
  cell: string,
  messageCount: number,
  reference: readonly Record<string, number>[],
  candidate: readonly Record<string, number>[],
): GateCounter[] {
  const names = Object.keys(TITLES).filter((name) => [...reference, ...candidate].every((totals) => name in totals));
  return names.map((name) =>
    compareCounter({
      id: `${cell}/${name}`,
      title: TITLES[name]!,
      messageCount,
      reference: reference.map((totals) => totals[name]!),
      candidate: candidate.map((totals) => totals[name]!),
      resolution: resolutionOf(name, messageCount),
    }),
  );
}

function resolutionOf(name: string, messageCount: number): number {
  const { perMessage, total } = RESOLUTIONS[name] ?? { perMessage: 0, total: 0 };
  return Math.max(perMessage * messageCount, total);
}
