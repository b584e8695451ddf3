import { pinnableProcessors } from "../pinning.js";

/** One for each pair of a duet; the same twice where there is only one. */
export type DuetProcessors = readonly [first: number, second: number];

/** Two processors that this process may use; null where processes cannot be pinned. */
export async function findDuetProcessors(): Promise<DuetProcessors | null> {
  const allowed = await pinnableProcessors();
  return allowed === null ? null : chooseProcessors(allowed);
}

/** The first and the last, since neighbours often share a core. @param allowed at least one, ascending. Pure. */
export function chooseProcessors(allowed: readonly number[]): DuetProcessors {
  return [allowed[0]!, allowed.at(-1)!];
}
