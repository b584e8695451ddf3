import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterEach, beforeEach, expect, it } from "vitest";
import { loadEngine } from "../registry.js";
import { killTrial } from "./kill.js";
import type { Outcome } from "./outcome.js";

const MAIN = fileURLToPath(new URL("./main.js", import.meta.url));
const EARLY_ACKNOWLEDGER = new URL("./early-acknowledger.js", import.meta.url).href;
/** Seeds that draw a rig and a policy: rigs alternate, policies every second seed. */
const KILL_ASYNC = 0;
const POWER_ASYNC = 1;
const POWER_SYNC = 5;

let directory = "";
beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-torture-test-"));
});
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

function torture(...args: string[]) {
  return execa(process.execPath, [MAIN, ...args], { cwd: directory, reject: false });
}

it("finds nothing wrong with a sound engine, tells its seed, and measures what a power cut loses", async () => {
  const { exitCode, stdout, stderr } = await torture("--engine", "raw", "--seed", String(POWER_ASYNC), "--rounds", "1");
  expect(exitCode).toBe(0);
  expect(stderr).toContain(`Seed ${POWER_ASYNC}`);
  const row = stdout.split("\n").find((line) => line.includes("raw"))!;
  const cells = row.split("│").map((cell) => cell.trim().replaceAll(" ", ""));
  const [engine, rig, flush, rounds, acknowledged, lost, lostBytes, oldestLostMs, recoveries, , failures] =
    cells.slice(1);
  expect([engine, rig, flush, rounds, failures]).toEqual(["raw", "power", "async", "1", "0"]);
  expect(Number(acknowledged)).toBeGreaterThan(Number(lost));
  for (const count of [lost, lostBytes, oldestLostMs, recoveries]) expect(Number(count)).toBeGreaterThan(0);
  expect(fs.readdirSync(directory)).toEqual([]);
});

it("kills processes of a sound engine and finds all that they acknowledged", async () => {
  const { exitCode, stdout } = await torture("--engine", "raw", "--seed", String(KILL_ASYNC + 6), "--rounds", "1");
  expect(stdout).toContain("kill");
  expect(exitCode).toBe(0);
});

it("does the same again when given the same seed", async () => {
  const args = ["--engine", "raw", "--seed", String(POWER_SYNC), "--rounds", "1"];
  expect((await torture(...args)).stdout).toBe((await torture(...args)).stdout);
});

it("catches an engine that acknowledges before its sync, and the command it prints repeats that", async () => {
  const engine = `${EARLY_ACKNOWLEDGER}?fault=before-sync`;
  const { exitCode, stderr } = await torture("--engine", engine, "--seed", String(POWER_SYNC), "--rounds", "1");
  expect(exitCode).toBe(4);
  expect(stderr).toMatch(/\d+ of \d+ acknowledged messages left/);
  const command = /^Repeat it: npm run torture -- (.*)$/m.exec(stderr)![1]!;
  const again = await execa(`exec '${process.execPath}' '${MAIN}' ${command}`, {
    cwd: directory,
    reject: false,
    shell: true,
  });
  expect(again.exitCode).toBe(4);
  expect(again.stderr).toBe(stderr);
});

it("catches an engine that acknowledges before its write by killing its process", async () => {
  const engine = `${EARLY_ACKNOWLEDGER}?fault=before-write`;
  const settings = { flush: "async", lingerMs: 1_000, batchSizeBytes: 1_000_000 };
  const definition = await loadEngine(engine);
  let seed = Math.floor(Math.random() * 2 ** 31);
  let outcome: Outcome;
  do {
    // A seed may draw a single life, killed before it has acknowledged much, which then has nothing to lose.
    const trial = {
      definition,
      engine,
      directory: path.join(directory, `${++seed}`),
      settings,
      hasChecksums: false,
      seed,
    };
    outcome = await killTrial(trial);
  } while (outcome.acknowledgedMessages < 100);
  const { wrongs, lostMessages, lostBytes, oldestLostMs } = outcome;
  expect(wrongs.join("\n"), `seed ${seed}`).toMatch(/\d+ of \d+ acknowledged messages left/);
  for (const count of [lostMessages, lostBytes, oldestLostMs]) expect(count).toBeGreaterThan(0);
});

it.each([
  [["--minutes", "0"], "minutes"],
  [["--minutes", "1e99"], "minutes"],
  [["--rounds", "1.5"], "rounds"],
  [["--seed", "-1"], "seed"],
  [["--seed", "4294967296"], "seed"],
  [["--engine", "nonsense"], "nonsense"],
  [["--engine", "null"], "keeps nothing"],
  [["--engine", ","], "engine"],
  [["--minutes", "1", "--rounds", "1"], "not both"],
  [["--bogus"], "--bogus"],
  [["more"], "one argument too many"],
])("refuses %j in one sentence", async (args, word) => {
  const { exitCode, stdout, stderr } = await torture(...args);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).toContain(word);
  expect(fs.readdirSync(directory)).toEqual([]);
});

it("ends on Ctrl-C, tells what it has, and leaves nothing behind", async () => {
  const running = torture("--engine", "raw", "--minutes", "5", "--seed", String(KILL_ASYNC));
  await new Promise<void>((resolve) => {
    const poll = setInterval(() => {
      if (!fs.readdirSync(directory).some((name) => fs.readdirSync(path.join(directory, name)).length > 1)) return;
      clearInterval(poll);
      resolve();
    }, 5);
  });
  running.kill("SIGINT");
  const { exitCode, stdout } = await running;
  expect(exitCode).toBe(130);
  expect(stdout).toContain("acknowledged");
  expect(fs.readdirSync(directory)).toEqual([]);
});
