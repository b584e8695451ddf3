import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execaNode } from "execa";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { baselineSchema, gateResultSchema } from "../../results/gate.js";
import { SAME_BUILD } from "./builds.js";

/** The command as a process, which is what CI sees of it: exit codes, words, files, and what is left behind. */
const MAIN = join(SAME_BUILD.candidate, "dist/runners/gate/main.js");
const PLANTED = join(SAME_BUILD.candidate, "dist/runners/gate/planted-engine.js");
const TEST_ENGINE = new URL("../test-engine.js", import.meta.url).href;
const MINUTE_MS = 60_000;
/** Of a third party: `./mine.mjs` of the directory that the command runs in. */
const MINE = ["--engine", "./mine.mjs", "--against-engine", TEST_ENGINE, "--profile", "counters", "--any-filesystem"];

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "logduel-gate-main-"));
  mkdirSync(join(directory, "tmp"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function start(args: readonly string[], environment: Record<string, string> = {}) {
  return execaNode(MAIN, args, {
    cwd: directory,
    reject: false,
    nodeOptions: [],
    env: { TMPDIR: join(directory, "tmp"), GITHUB_ACTIONS: "", GITHUB_STEP_SUMMARY: "", ...environment },
  });
}

function stored(out = "out") {
  return gateResultSchema.parse(JSON.parse(readFileSync(join(directory, out, "gate.json"), "utf8")));
}

/** Directories of data and builds that should be gone. */
function leftovers(): string[] {
  return [...readdirSync(directory), ...readdirSync(join(directory, "tmp"))].filter((name) => /logduel/.test(name));
}

function faulty(fault: string): void {
  writeFileSync(
    join(directory, "mine.mjs"),
    `export { default } from ${JSON.stringify(`${TEST_ENGINE}?fault=${fault}`)};\n`,
  );
}

describe("the gate's exit code is", { timeout: MINUTE_MS }, () => {
  it(
    "0 when a third party's engine is what it was, and every output is there",
    async () => {
      faulty("none");
      const summary = join(directory, "summary.md");
      const { exitCode, stdout, stderr } = await start([...MINE, "--out", "out", "--append-history", "h.jsonl"], {
        GITHUB_ACTIONS: "true",
        GITHUB_STEP_SUMMARY: summary,
      });
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: expect.not.stringContaining("Error") });
      expect(readdirSync(join(directory, "out")).sort()).toEqual(["gate.html", "gate.json", "gate.md", "gate.xml"]);
      expect(stored()).toMatchObject({ outcome: "passed", exitCode: 0, failures: [] });
      expect(stored().counters.length).toBeGreaterThan(10);
      expect(stdout).toMatch(/^::notice title=logduel gate%3A passed::No counter rose, and nothing was timed\.%0A/m);
      expect(readFileSync(summary, "utf8")).toBe(readFileSync(join(directory, "out", "gate.md"), "utf8"));
      expect(readFileSync(join(directory, "h.jsonl"), "utf8").split("\n")).toHaveLength(2);
      expect(leftovers()).toEqual([]);
    },
    2 * MINUTE_MS,
  );

  it(
    "1 when a setting adds a copy to each message, and the command it gives to repeat it says the same",
    async () => {
      const sides = ["--engine", PLANTED, "--set", "engine=commitlog", "--against-set", "engine=commitlog"];
      const args = [...sides, "--set", "plant.copies=true", "--profile", "counters", "--any-filesystem"];
      const { exitCode, stdout } = await start([...args, "--out", "out"]);
      expect(exitCode).toBe(1);
      expect(stored()).toMatchObject({ outcome: "regression", exitCode: 1 });
      expect(stored().reasons).toContain("planted/appending/copyCalls: 1 more for each message.");
      expect(stdout).toContain(`To repeat: npm run gate -- ${args.join(" ")} --seed ${stored().seed}`);
    },
    3 * MINUTE_MS,
  );

  it.each<[string, string[], RegExp]>([
    ["nothing to compare with", [], /^Say what to compare with/],
    ["a commit that is none", ["--against", "$(touch here)"], /^"\$\(touch here\)" names no commit/],
    ["an unknown engine", ["--engine", "mine", "--set", "a=1"], /^There is no engine called "mine"/],
    ["an unknown engine, before a commit is built", ["--against", "HEAD", "--engine", "mine"], /^There is no engine/],
    ["a module that is none", ["--engine", "./no.js", "--set", "a=1"], /no\.js could not be loaded/],
    ["an unknown setting", ["--engine", "raw", "--set", "colour=red"], /does not take these .*"colour"/],
    ["an invalid value", ["--engine", "commitlog", "--against-set", "checksum=x"], /\(checksum: Invalid input/],
    ["a baseline that is not there", ["--baseline", "no.json"], /^There is no baseline at/],
    ["a baseline that is none", ["--baseline", "tmp"], /^tmp is no baseline of this version/],
    ["a baseline's name that is a path", ["--save-baseline", "../x"], /cannot name a baseline/],
    ["a history that is not there", ["--history", "no"], /^There is no history at no/],
    ["a history that cannot grow", ["--set", "a=1", "--append-history", "no/h"], /cannot be written/],
    ["a self-test of nothing timed", ["--self-test", "--profile", "counters"], /times nothing that a self-test/],
    ["a directory that is not there", ["--set", "a=1", "--dir", "no"], /does not exist; create it/],
    ["results among others'", ["--set", "a=1", "--out", "."], /is not empty; give a new directory/],
  ])("2 for %s, told in one sentence", async (_, args, sentence) => {
    const { exitCode, stdout, stderr } = await start([...args, "--any-filesystem"]);
    expect(stderr).toMatch(sentence);
    expect({ exitCode, stdout, lines: stderr.split("\n").length }).toEqual({ exitCode: 2, stdout: "", lines: 1 });
    expect(readdirSync(directory)).not.toContain("here");
    expect(leftovers()).toEqual([]);
  });

  it("3 when the budget is too short to time anything", async () => {
    const args = ["--engine", "raw", "--against-engine", "raw", "--profile", "short", "--budget", "1s"];
    const { exitCode, stdout } = await start([...args, "--any-filesystem"]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: expect.stringContaining("raise --budget") });
  });

  it.skipIf(!existsSync("/dev/shm"))("3 on what is no disk", async () => {
    const { exitCode, stderr } = await start(["--engine", "raw", "--set", "a=1", "--dir", "/dev/shm"]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 3, stderr: expect.stringMatching(/memory and not a disk/) });
  });

  it.each([
    ["throws", /the append failed on purpose/],
    ["crashes", /./],
    ["drops", /acknowledged|offset|missing|lost/],
    ["corrupts", /./],
    ["duplicates", /./],
    ["lies", /The engine claims D2, but acknowledged \d+ messages with no sync/],
  ])(
    "4 when the candidate %s",
    async (fault, words) => {
      faulty(fault);
      const { exitCode, stdout } = await start([...MINE, "--out", "out"]);
      expect(exitCode).toBe(4);
      const [failure, ...others] = stored().failures;
      expect(others).toEqual([]);
      expect(failure).toMatch(/^test-engine\/(appending|syncing), candidate: /);
      expect(failure).toMatch(words);
      expect(stdout).not.toContain("\u001b");
      expect(readFileSync(join(directory, "out", "gate.xml"), "utf8")).toMatch(/<error message="test-engine/);
      expect(leftovers()).toEqual([]);
    },
    60_000,
  );

  it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "130 when interrupted by %s, and nothing stays behind",
    async (name) => {
      const running = start(["--engine", "commitlog", "--against-engine", "commitlog", "--any-filesystem"]);
      running.stderr.on("data", (chunk: Buffer) => {
        if (chunk.toString().includes("Counting")) running.kill(name);
      });
      const { exitCode, stderr } = await running;
      expect({ exitCode, stderr }).toEqual({ exitCode: 130, stderr: expect.stringContaining("nothing was decided") });
      expect(leftovers()).toEqual([]);
      expect(readdirSync(join(directory, "results/runs"))).toEqual([]);
    },
    60_000,
  );
});

describe("a stored baseline", () => {
  it(
    "is compared with, of one engine too, and only shown where it is of another machine",
    async () => {
      const common = ["--profile", "counters", "--any-filesystem"];
      const saved = await start(["--engine", TEST_ENGINE, "--save-baseline", "here", ...common]);
      expect({ exitCode: saved.exitCode, stdout: saved.stdout }).toEqual({
        exitCode: 0,
        stdout: "Baseline: results/baselines/here.json",
      });
      const file = join(directory, "results/baselines/here.json");
      const baseline = baselineSchema.parse(JSON.parse(readFileSync(file, "utf8")));
      const against = (out: string, ...args: string[]) => start(["--baseline", file, "--out", out, ...common, ...args]);

      expect((await against("same", "--engine", TEST_ENGINE)).exitCode).toBe(0);
      const other = await against("other", "--engine", "raw");
      expect([other.exitCode, other.stderr.split("\n").at(-1)]).toEqual([
        2,
        'The baseline here has no engine called "raw"; it has test-engine.',
      ]);
      const elsewhere = { ...baseline, environment: { ...baseline.environment, fingerprint: "another" } };
      writeFileSync(file, JSON.stringify(elsewhere));
      expect((await against("elsewhere", "--engine", TEST_ENGINE)).exitCode).toBe(3);
      expect(stored("elsewhere").reasons).toEqual([
        "The baseline is of another machine: its figures are shown, not judged.",
      ]);
    },
    3 * MINUTE_MS,
  );
});
