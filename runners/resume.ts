/** Going on with a run that was interrupted: what must be the same for that, and what is told if it is not. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { UsageError } from "../engines/command-line.js";
import { machineDifferences } from "../results/comparability.js";
import type { Run } from "../results/schema.js";
import { loadRun, UnreadableRunError } from "../results/store.js";
import { identityOf, type Origin } from "./identity.js";
import { cellName, type Plan, type PlannedTrial, repeated } from "./plan.js";

const RUNS_DIRECTORY = "results/runs";

/**
 * Finds an unfinished run by its id below results/runs or by its directory.
 * @throws UsageError
 */
export function findInterrupted(name: string): { directory: string; run: Run } {
  const candidates = [resolve(name), resolve(RUNS_DIRECTORY, name)];
  const directory = candidates.find((path) => existsSync(join(path, "run.json")));
  if (directory === undefined) {
    throw new UsageError(
      `There is no run called ${JSON.stringify(name)}, neither as a directory nor below ${RUNS_DIRECTORY}.`,
    );
  }
  try {
    const run = loadRun(directory);
    if (run.status === "partial") return { directory, run };
  } catch (error) {
    if (error instanceof UnreadableRunError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
  throw new UsageError(`${directory} is complete: there is nothing to go on with.`);
}

/**
 * Refuses where trials of then and now would not belong together.
 * @throws UsageError naming what differs
 */
export function requireSame(run: Run, plan: Plan, environment: Run["environment"], origin: Origin): void {
  const refuse = (what: string): never => {
    throw new UsageError(`Run ${run.runId} cannot be resumed: ${what}. Begin a new run.`);
  };
  const machine = machineDifferences(run.environment, environment);
  if (machine.length > 0) refuse(`the machine is another, ${machine.join(", ")}`);
  if (run.environment.fingerprint !== environment.fingerprint) refuse("the machine is another");
  if (run.code.hash !== origin.code.hash || run.code.hash === null) {
    const words = ({ version, commit, hash }: Run["code"]) =>
      `${version}, commit ${commit?.slice(0, 7) ?? "unknown"}, hash ${hash ?? "unknown"}`;
    refuse(`the code is another (it was ${words(run.code)}; it is ${words(origin.code)})`);
  }
  // A limit is the same cell before and after.
  const keyOf = (trial: Pick<PlannedTrial, "trialId" | "phase">) => `${trial.phase} ${cellName(trial)}`;
  const cells = new Map(plan.trials.map((trial) => [keyOf(trial), trial]));
  for (const trial of run.trials) {
    const cell = cells.get(keyOf(trial));
    if (cell === undefined) refuse(`the plan is another, and no longer has trial ${trial.trialId}`);
    else if (identityOf(repeated(cell, trial.repetition, run.seed), origin) !== trial.identity) {
      refuse(`the plan is another: trial ${trial.trialId} would have another configuration or seed`);
    }
  }
}
