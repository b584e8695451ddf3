/** Which processors a trial's process may run on (method rule 25). */
import { existsSync, readFileSync } from "node:fs";
import { execa } from "execa";

const STATUS_FILE = "/proc/self/status";
/** Engine, pool and sampler keep three, and one is left for everything else; with fewer, pinning takes from the trial. */
export const FEWEST_PROCESSORS = 4;

export interface Pinning {
  /** As `taskset --cpu-list` takes it; null: not pinned. */
  readonly processors: string | null;
  /** Why they are not pinned, in a few words; empty if they are. */
  readonly reason: string;
}

let found: Promise<Pinning> | undefined;

/** That of every trial of this process. */
export function trialPinning(): Promise<Pinning> {
  found ??= findPinning();
  return found;
}

/** Processors that this process may use, in ascending order; null where processes cannot be pinned: only Linux with `taskset` can. */
export async function pinnableProcessors(): Promise<readonly number[] | null> {
  if (!existsSync(STATUS_FILE)) return null;
  const { failed } = await execa("taskset", ["--version"], { reject: false });
  return failed ? null : allowedProcessors(readFileSync(STATUS_FILE, "utf8"));
}

async function findPinning(): Promise<Pinning> {
  const pinning = choosePinning(await pinnableProcessors());
  if (pinning.processors === null) return pinning;
  const { failed } = await execa("taskset", ["--cpu-list", pinning.processors, "true"], { reject: false });
  return failed ? { processors: null, reason: "the system refuses it" } : pinning;
}

/** The first is left for everything else: most interrupts are handled there. Pure. */
export function choosePinning(allowed: readonly number[] | null): Pinning {
  if (allowed === null) return { processors: null, reason: "that needs Linux and taskset (util-linux)" };
  if (allowed.length < FEWEST_PROCESSORS) {
    const count = `${allowed.length} ${allowed.length === 1 ? "processor" : "processors"}`;
    return { processors: null, reason: `${count}, and only of ${FEWEST_PROCESSORS} can one be left for the rest` };
  }
  return { processors: rangesOf(allowed.slice(1)), reason: "" };
}

/** For the run's environment: what was done, or why not. */
export function pinningSentence({ processors, reason }: Pinning): string {
  return processors === null
    ? `Trials were not pinned to processors: ${reason}.`
    : `Trials were pinned to the processors ${processors}; the one that was left out was for everything else.`;
}

/** `0-3,8` of `Cpus_allowed_list` in `/proc/<pid>/status`; null where it is not told. Pure. */
export function allowedProcessors(status: string): number[] | null {
  const list = /^Cpus_allowed_list:\s*(?<list>[\d,-]+)$/m.exec(status)?.groups?.list;
  if (list === undefined) return null;
  return list.split(",").flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number);
    return Array.from({ length: last! - first! + 1 }, (_, i) => first! + i);
  });
}

function rangesOf(ascending: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const processor of ascending) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === processor - 1) last[1] = processor;
    else ranges.push([processor, processor]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}
