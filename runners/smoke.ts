/** `npm run smoke`: the smoke profile end to end, as CI runs it, and whether all that a run promises is there afterwards. */
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { $ } from "zx";
import { loadRun } from "../results/store.js";

const SMALLEST_FILE_BYTES = 1_000;

const directory = mkdtempSync(join(process.cwd(), ".logduel-smoke-"));
const out = join(directory, "run");
try {
  await $({ stdio: "inherit" })`node dist/runners/main.js --profile smoke --dir ${directory} --out ${out}`;

  const run = loadRun(out);
  const failures = run.trials.flatMap(({ trialId, failures }) => failures.map((failure) => `${trialId}: ${failure}`));
  demand(run.status === "complete", `the run is ${run.status}`);
  demand(
    run.trials.length === run.plannedTrialCount,
    `${run.trials.length} of ${run.plannedTrialCount} trials were run`,
  );
  // An open-loop rate may be out of reach for a moment on a busy machine; that a trial says so is right.
  for (const failure of failures) console.error(`A trial failed. ${failure}`);
  const pictures = readdirSync(join(out, "charts")).map((name) => join("charts", name));
  demand(pictures.length > 0, "there are no pictures");
  for (const name of ["report.html", "report.md", ...pictures]) {
    demand(statSync(join(out, name)).size > SMALLEST_FILE_BYTES, `${name} is empty`);
  }
  demand(readdirSync(directory).length === 1, `data was left behind: ${readdirSync(directory).join(", ")}`);
  console.log(`The smoke run is whole: ${run.trials.length} trials, ${pictures.length} pictures.`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}

function demand(isTrue: boolean, otherwise: string): void {
  if (!isTrue) throw new Error(`The smoke run is not what it should be: ${otherwise}.`);
}
