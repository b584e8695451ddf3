import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execaNode } from "execa";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Run } from "../results/schema.js";
import { loadRun } from "../results/store.js";

const MAIN = fileURLToPath(new URL("./main.js", import.meta.url));
const TEST_ENGINE = new URL("./test-engine.js", import.meta.url).href;
/** /tmp may lie in memory, where the tests may run all the same. */
const SMOKE = ["--profile", "smoke", "--any-filesystem"];

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "logduel-test-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A run takes seconds, or minutes on a busy machine: only what hangs meets this. */
const RUN_LIMIT_MS = 600_000;

function start(args: string[]) {
  return execaNode(MAIN, args, { cwd: directory, reject: false, timeout: RUN_LIMIT_MS, killSignal: "SIGKILL" });
}

/** The names of everything below the directory, the results' left out. */
function leftovers(): string[] {
  return readdirSync(directory).filter((name) => name !== "out" && name !== "results");
}

describe("bad input", () => {
  it.each([
    ["an unknown option", ["--colour"], /^Unknown option '--colour'; there are --profile <name>, .*--help\.$/],
    [
      "an argument too many",
      ["many-partitions"],
      /^"many-partitions" is one argument too many; there are --profile <name>, /,
    ],
    [
      "an unknown profile",
      ["--profile", "slow"],
      /^There is no profile called "slow"; there are smoke, quick, full\.$/,
    ],
    ["a profile of Object", ["--profile", "constructor"], /^There is no profile called "constructor"/],
    [
      "an unknown scenario",
      ["--scenario", "linger,x"],
      /^There is no scenario called "x"; there are batch-size, .*\.$/,
    ],
    [
      "a scenario that the profile leaves out",
      ["--scenario", "linger,retention"],
      /^Scenario retention is not in profile quick; give --profile smoke or --profile full, or leave it out of --scenario\.$/,
    ],
    ["an unknown engine", ["--engine", "mysql"], /^There is no engine called "mysql"\. There are .*null, raw.*\.$/],
    ["an engine module that is not there", ["--engine", "./nothing.js"], /nothing\.js could not be loaded/],
    [
      "a file of payloads where a scenario varies them",
      ["--payload", MAIN, "--scenario", "message-size"],
      /^Scenario message-size varies messages\.sizeBytes, which --payload decides: leave it out with --scenario\.$/,
    ],
    ["an empty seed", ["--seed", ""], /^The seed "" is not a whole number/],
    [
      "a place where nothing can be made",
      ["--out", "/proc/logduel/run"],
      /cannot be written \(ENOENT.*\); give another --out\.$/,
    ],
    ["a missing file of payloads", ["--payload", "./lines"], /lines cannot be read \(ENOENT.*\)\.$/],
    ["an empty directory", ["--dir", ""], /^An empty path was given/],
    ["a seed that is no number", ["--seed", "soon"], /^The seed "soon" is not a whole number/],
    ["a budget without a unit", ["--budget", "10"], /^The budget "10" is not a time from 10s on; give one as 90s, /],
    ["a budget of nothing", ["--budget", ""], /^The budget "" is not a time/],
    [
      "an objective for the limits alone",
      ["--objective", "p99<=5ms", "--engine", "null,raw", "--scenario", "many-topics"],
      /^--objective finds nothing to search: (null and raw|raw and null) would run as limits only, .*; add an engine /,
    ],
    ["a missing directory", ["--dir", "./absent"], /absent does not exist\. Create it, or give another --dir\.$/],
  ])("%s is refused in one sentence, with exit code 2", async (_, args, sentence) => {
    const { exitCode, stderr, stdout } = await start(args);
    expect({ exitCode, stdout, lines: stderr.split("\n").length }).toEqual({ exitCode: 2, stdout: "", lines: 1 });
    expect(stderr).toMatch(sentence);
    expect(readdirSync(directory)).toEqual([]);
  });

  it.each([
    ["ends the process", "process.exit(0);"],
    ["never finishes loading", "await new Promise(() => {});"],
  ])("names an engine module that %s", async (_, source) => {
    writeFileSync(join(directory, "mine.mjs"), source);
    const { exitCode, stderr } = await start([...SMOKE, "--engine", "./mine.mjs"]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^The engine module \.\/mine\.mjs ended the process .*, or never finished loading\.$/);
    expect(leftovers()).toEqual(["mine.mjs"]);
  });

  it("refuses a file as --dir, and an output directory in use", async () => {
    writeFileSync(join(directory, "file"), "");
    const file = await start(["--dir", "file"]);
    expect(file.exitCode).toBe(2);
    expect(file.stderr).toMatch(/is not a directory/);
    mkdirSync(join(directory, "out"));
    writeFileSync(join(directory, "out", "precious"), "");
    const blocked = await start([...SMOKE, "--out", "file/out"]);
    expect(blocked.exitCode).toBe(2);
    expect(blocked.stderr).toMatch(/out cannot be written \(ENOTDIR.*\); give another --out\.$/);
    const out = await start([...SMOKE, "--out", "out"]);
    expect(out.exitCode).toBe(2);
    expect(out.stderr).toMatch(/out is not empty; give a new directory as --out\.$/);
    expect(leftovers()).toEqual(["file"]);
  });

  it("does not let an option's text command the terminal", async () => {
    const { stderr } = await start(["--engine", "\u001b[2J\u202e"]);
    expect([...stderr].filter((character) => character === "\u001b" || character === "\u202e")).toEqual([]);
  });
});

describe("looking without running", () => {
  it("lists scenarios, engines and profiles", async () => {
    const { exitCode, stdout } = await start(["--list"]);
    expect(exitCode).toBe(0);
    for (const name of ["device-ceiling", "flush-policy", "null", "raw", "smoke", "quick", "full"]) {
      expect(stdout).toMatch(new RegExp(`^  ${name} +\\S`, "m"));
    }
  });

  it("prints the plan of a dry run, the same for the same seed, and creates nothing", async () => {
    const args = ["--dry-run", "--profile", "smoke", "--scenario", "flush-policy"];
    const first = await start([...args, "--seed", "5"]);
    const second = await start([...args, "--seed", "5"]);
    const third = await start([...args, "--seed", "6"]);
    expect(first.exitCode).toBe(0);
    expect(first.stdout).toBe(second.stdout);
    expect(first.stdout).not.toBe(third.stdout);
    expect(first.stdout).toMatch(/^ +1 {2}flush-policy\//m);
    expect(first.stdout).toMatch(/\d+ trials with seed 5, about \d+ s in all\. Nothing was written\.$/);
    expect(readdirSync(directory)).toEqual([]);
  });

  it("explains itself", async () => {
    const { exitCode, stdout } = await start(["--help"]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain("--dry-run");
    expect(stdout).toContain("Exit codes: 0 done, 2 usage");
  });
});

describe("a run", { timeout: RUN_LIMIT_MS }, () => {
  it("ends with a stored run, its reports and a table, and removes its data", async () => {
    const engines = `null,raw,${TEST_ENGINE}`;
    const args = [...SMOKE, "--scenario", "device-ceiling", "--engine", engines, "--out", "out", "--seed", "3"];
    const { exitCode, stdout, stderr } = await start(args);
    expect({ exitCode, stderr: exitCode === 0 ? "" : stderr }).toEqual({ exitCode: 0, stderr: "" });
    const run = loadRun(join(directory, "out"));
    expect(run).toMatchObject({ status: "complete", profile: "smoke", seed: 3, command: args });
    expect(run.trials.map(({ phase, engine }) => `${phase} ${engine}`).sort()).toEqual([
      "after null",
      "after raw",
      "before null",
      "before raw",
      "trials test-engine",
    ]);
    expect(run.probeAfter.map(({ id }) => id)).toEqual(run.probe.map(({ id }) => id));
    expect(run.trials.length).toBe(run.plannedTrialCount);
    expect(run.trials.map(({ status, failures }) => [status, ...failures])).toEqual(Array(5).fill(["ok"]));
    expect(run.probe.length).toBeGreaterThan(5);
    expect(run.packages["hdr-histogram-js"]).toMatch(/^\d+\./);
    expect(run.environment.node.threadPoolSize).toBe(16);
    for (const file of ["report.html", "report.md"])
      expect(statSync(join(directory, "out", file)).size).toBeGreaterThan(0);
    expect(stdout).toMatch(/Report: out\/report\.html$/);
    expect(stderr).toMatch(/^trial 5 of 5, .* left: device-ceiling\//m);
    expect(leftovers()).toEqual([]);
  });

  it("reports an engine that fails, runs the others, and ends with exit code 4", async () => {
    const engines = `${TEST_ENGINE}?fault=corrupts,null`;
    const { exitCode, stderr } = await start([
      ...SMOKE,
      "--scenario",
      "batch-size,device-ceiling",
      "--engine",
      engines,
      "--out",
      "out",
    ]);
    expect(exitCode).toBe(4);
    const whole = loadRun(join(directory, "out"));
    const { trials, status } = whole;
    expect(status).toBe("complete");
    const faulty = trials.filter(({ engine }) => engine === "test-engine");
    expect(faulty.length).toBe(3);
    expect(faulty.every((trial) => trial.status === "failed" && trial.measured === null)).toBe(true);
    expect(trials.find(({ engine }) => engine === "null")!.status).toBe("ok");
    expect(stderr).toMatch(/^Failed: .*: Partition topic-0\/\d holds other bytes at offset \d+ than were sent\.$/m);
    expect(leftovers()).toEqual([]);

    // As if it had been killed before its last trials, none of which fails.
    const kept = trials.filter(({ phase }) => phase !== "after");
    expect(kept.length).toBeLessThan(trials.length);
    const killed: Run = { ...whole, status: "partial", trials: kept };
    writeFileSync(join(directory, "out", "run.json"), JSON.stringify(killed));
    const resumed = await start(["--resume", "out"]);
    expect(resumed.stderr).not.toMatch(/^Failed: /m);
    expect([resumed.exitCode, loadRun(join(directory, "out")).status]).toEqual([4, "complete"]);
  });

  it.each<[string, string, number, RegExp, string[]]>([
    [
      "takes the report's place",
      'mkdirSync("out/report.html", { recursive: true })',
      2,
      /^The run is stored, but not its report \(EISDIR.*\): npm run report -- out --out DIRECTORY makes it\.$/m,
      ["run.json"],
    ],
    [
      "removes the results so far",
      'rmSync("out", { recursive: true, force: true })',
      0,
      /^trial 2 of 2/m,
      ["report.html", "report.md", "run.json"],
    ],
  ])("loses no result to an engine that %s", async (_, deed, code, sentence, files) => {
    writeFileSync(
      join(directory, "mine.mjs"),
      `import { mkdirSync, rmSync } from "node:fs";
       import engine from ${JSON.stringify(TEST_ENGINE)};
       export default { ...engine, name: "mine", open: (options) => { ${deed}; return engine.open(options); } };`,
    );
    const args = ["--scenario", "load-points", "--engine", "./mine.mjs", "--out", "out"];
    const { exitCode, stderr } = await start([...SMOKE, ...args]);
    expect(stderr).toMatch(sentence);
    expect(exitCode).toBe(code);
    const run = loadRun(join(directory, "out"));
    expect([run.status, run.trials.length]).toEqual(["complete", 2]);
    expect(readdirSync(join(directory, "out"))).toEqual(expect.arrayContaining(files));
    expect(leftovers()).toEqual(["mine.mjs"]);
  });

  it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "interrupted by %s, keeps what is finished and removes its data",
    async (signal) => {
      const running = start([...SMOKE, "--scenario", "batch-size", "--engine", TEST_ENGINE, "--out", "out"]);
      running.stderr.on("data", (chunk: Buffer) => {
        if (chunk.toString().includes("trial 2 of")) running.kill(signal);
      });
      const { exitCode, stdout } = await running;
      expect(exitCode).toBe(130);
      const run = loadRun(join(directory, "out"));
      expect({ status: run.status, trials: run.trials.length, planned: run.plannedTrialCount }).toEqual({
        status: "partial",
        trials: 1,
        planned: 2,
      });
      expect(stdout).toMatch(/Interrupted: the report is partial\./);
      expect(readFileSync(join(directory, "out", "report.html"), "utf8")).toMatch(/partial/i);
      expect(leftovers()).toEqual([]);
    },
  );

  it("is resumed after kill -9, runs nothing twice, and ends as one whole run", async () => {
    const args = [...SMOKE, "--scenario", "device-ceiling", "--engine", `null,${TEST_ENGINE}`, "--out", "out"];
    const running = start([...args, "--seed", "7"]);
    running.stderr.on("data", (chunk: Buffer) => {
      if (chunk.toString().includes("trial 3 of")) running.kill("SIGKILL");
    });
    expect((await running).signal).toBe("SIGKILL");
    const out = join(directory, "out");
    const killed = loadRun(out);
    expect([killed.status, killed.trials.length, killed.finishedAt]).toEqual(["partial", 2, null]);
    for (const [wrong, sentence] of [
      [["--seed", "8"], /^--seed is not what run .* was begun with; leave it out, or begin a new run\.$/],
      [["--out", "elsewhere"], /^--out is not what run /],
    ] as const) {
      const refused = await start(["--resume", "out", ...wrong]);
      expect([refused.exitCode, refused.stderr]).toEqual([2, expect.stringMatching(sentence)]);
    }
    const both = await Promise.all([start(["--resume", "out"]), start(["--resume", "out"])]);
    const refused = both.find(({ exitCode }) => exitCode === 2)!;
    // The later one, if it is so late, finds the run complete.
    expect(refused.stderr).toMatch(/^Another command is at work on .*: wait until it has ended\.$|is complete/m);
    const { exitCode, stderr } = both.find((one) => one !== refused)!;
    expect({ exitCode, stderr: exitCode === 0 ? "" : stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stderr).toMatch(/^2 trials are there already\.$/m);
    expect(both.map((one) => one.stderr).join("\n")).toMatch(
      /^Removed .*logduel-data-.*: the command that made it was killed\.$/m,
    );
    expect(leftovers()).toEqual([]);
    expect(stderr).toMatch(/^trial 3 of 3/m);
    expect(stderr).not.toMatch(/^trial [12] of 3/m);
    const whole = loadRun(out);
    expect([whole.status, whole.runId, whole.trials.length]).toEqual(["complete", killed.runId, 3]);
    expect(whole.trials.slice(0, 2)).toEqual(killed.trials);
    expect(new Set(whole.trials.map(({ trialId }) => trialId)).size).toBe(3);
    const done = await start(["--resume", "out"]);
    expect([done.exitCode, done.stderr]).toEqual([
      2,
      expect.stringMatching(/is complete: there is nothing to go on with/),
    ]);
  });

  it.each<[string, (run: Run) => Partial<Run>, RegExp]>([
    [
      "another machine",
      ({ environment }) => ({ environment: { ...environment, kernel: "0.1" } }),
      /cannot be resumed: the machine is another, kernel 0\.1 against \S+\. Begin a new run\.$/,
    ],
    [
      "other code",
      ({ code }) => ({ code: { ...code, hash: "0" } }),
      /the code is another \(it was .*, hash 0; it is .*\)\./,
    ],
    [
      "another plan",
      ({ trials: [first, ...others] }) => ({ trials: [{ ...first!, identity: "0" }, ...others] }),
      /the plan is another: trial device-ceiling\S+ would have another configuration or seed\./,
    ],
  ])("refuses to go on with a run of %s", async (_, change, sentence) => {
    const args = [...SMOKE, "--scenario", "device-ceiling", "--engine", "null", "--out", "out"];
    expect((await start(args)).exitCode).toBe(0);
    const out = join(directory, "out");
    const run = loadRun(out);
    const changed = { ...run, status: "partial", ...change(run) };
    writeFileSync(join(out, "run.json"), JSON.stringify(changed));
    const { exitCode, stderr } = await start(["--resume", "out"]);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(sentence)]);
    expect(loadRun(out).trials).toEqual(changed.trials);
  });

  it("refuses to go on with a run that is not there", async () => {
    const { exitCode, stderr } = await start(["--resume", "nowhere"]);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/^There is no run called "nowhere", neither as/)]);
  });

  it("goes on when whoever reads its output has gone", async () => {
    const running = start([...SMOKE, "--scenario", "device-ceiling", "--engine", "null", "--out", "out"]);
    running.stdout.destroy();
    running.stderr.destroy();
    expect((await running).exitCode).toBe(0);
    expect(loadRun(join(directory, "out")).status).toBe("complete");
    expect(leftovers()).toEqual([]);
  });

  it("does not collide with another run in the same directory", async () => {
    const args = [...SMOKE, "--scenario", "device-ceiling", "--engine", "null"];
    const outcomes = await Promise.all([start(args), start(args)]);
    expect(outcomes.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
    expect(readdirSync(join(directory, "results", "runs")).length).toBe(2);
    expect(leftovers()).toEqual([]);
  });
});
