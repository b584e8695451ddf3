import { existsSync, readFileSync } from "node:fs";
import { execa } from "execa";

/** One for each pair of a duet; the same twice where there is only one. */
export type DuetProcessors = readonly [first: number, second: number];

const STATUS_FILE = "/proc/self/status";

/** Two processors that this process may use; null where processes cannot be pinned: only Linux with `taskset` can. */
export async function findDuetProcessors(): Promise<DuetProcessors | null> {
  if (!existsSync(STATUS_FILE)) return null;
  const { failed } = await execa("taskset", ["--version"], { reject: false });
  return failed ? null : chooseProcessors(readFileSync(STATUS_FILE, "utf8"));
}

/** The first and the last, since neighbours often share a core. @param status of `/proc/<pid>/status`. Pure. */
export function chooseProcessors(status: string): DuetProcessors | null {
  const allowed = /^Cpus_allowed_list:\s*(?<list>[\d,-]+)$/m.exec(status)?.groups?.list;
  const numbers = allowed?.split(/[,-]/).map(Number);
  return numbers === undefined ? null : [numbers[0]!, numbers.at(-1)!];
}
