import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterAll, describe, expect, it } from "vitest";
import type { EncodedHistogram, Measured } from "../results/schema.js";
import { syntheticRun } from "./synthetic-run.js";

const directory = mkdtempSync(join(tmpdir(), "logduel-report-command-"));
afterAll(() => rmSync(directory, { recursive: true }));

function report(...args: string[]) {
  return execa(process.execPath, [fileURLToPath(new URL("./main.js", import.meta.url)), ...args], { reject: false });
}

function store(name: string, content: unknown): string {
  const path = join(directory, name);
  mkdirSync(path);
  writeFileSync(join(path, "run.json"), JSON.stringify(content));
  return path;
}

const whole = syntheticRun({ trialCount: 1 });
const run = {
  ...whole,
  scenarios: whole.scenarios.slice(0, 1),
  trials: whole.trials.filter(({ scenarioId }) => scenarioId === "device-ceiling"),
};

describe("npm run report", () => {
  it("writes beside the run, or where it is told", async () => {
    const path = store("good", run);
    const beside = await report(path);
    expect([beside.exitCode, beside.stderr]).toEqual([0, ""]);
    expect(beside.stdout).toContain(join(path, "report.html"));
    expect(readdirSync(path).toSorted()).toEqual(["charts", "report.html", "report.md", "run.json"]);
    const out = join(directory, "elsewhere");
    expect((await report(join(path, "run.json"), "--out", out)).exitCode).toBe(0);
    expect(readdirSync(out).toSorted()).toEqual(["charts", "report.html", "report.md"]);
  });

  it.each([
    [
      "nothing",
      () => [],
      /^Missing required argument 'run'; there are <run...>, --across-machines, --out <directory>, --help\.$/,
    ],
    ["an unknown option", () => ["--frobnicate"], /^Unknown option '--frobnicate'; there are <run/],
    [
      "runs of different machines",
      () => [store("here", run), store("there", elsewhere())],
      /^Runs .* different machines/,
    ],
    ["a path that is not there", () => [join(directory, "nowhere")], /nowhere/],
    ["a run with an unknown key", () => [store("key", { ...run, surprise: 1 })], /surprise/],
    ["a file that is no JSON", () => [new URL(import.meta.url).pathname], /is not a run/],
    [
      "a damaged histogram",
      () => [
        store(
          "damaged",
          damaged(({ responseTime }) => [responseTime]),
        ),
      ],
      /^A latency histogram of the run is damaged/,
    ],
    [
      "a damaged histogram of a sample",
      () => [
        store(
          "damaged-sample",
          damaged(({ samples }) => samples.flatMap(({ detail }) => detail?.responseTime ?? [])),
        ),
      ],
      /^A latency histogram of the run is damaged/,
    ],
    [
      "a file as its output",
      () => [store("taken", run), "--out", new URL(import.meta.url).pathname],
      /^Cannot \w+ .*charts \(ENOTDIR\)\.$/,
    ],
  ] as const)("answers %s in one sentence and exits 2", async (_, args, sentence) => {
    const { exitCode, stderr } = await report(...args());
    expect(stderr).toMatch(sentence);
    expect(stderr.split("\n")).toHaveLength(1);
    expect(exitCode).toBe(2);
  });
});

function elsewhere() {
  return { ...run, environment: { ...run.environment, fingerprint: "another", kernel: "9" } };
}

function damaged(histogramsOf: (measured: Measured) => EncodedHistogram[]) {
  const copy = structuredClone(run);
  for (const { measured } of copy.trials) {
    for (const histogram of measured === null ? [] : histogramsOf(measured)) histogram.encoded = "AAAA";
  }
  return copy;
}
