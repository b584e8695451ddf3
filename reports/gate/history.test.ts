import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GateResult } from "../../results/gate.js";
import {
  analyseHistory,
  appendHistory,
  type HistoryEntry,
  loadHistory,
  requireAppendable,
} from "../../results/gate-history.js";
import { seededRandom } from "../../results/random.js";
import { historyPage, historyTerminal } from "./history.js";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "logduel-history-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

function runs(
  values: readonly number[],
  fingerprint = "m",
  settings: HistoryEntry["settings"] = {},
  costRatioOf: (at: number) => number | null = () => null,
): HistoryEntry[] {
  return values.map((value, at) => ({
    formatVersion: 1,
    at: new Date(Date.UTC(2026, 0, 1 + at)).toISOString(),
    commit: `${at}`.padStart(7, "c"),
    fingerprint,
    outcome: "passed",
    settings,
    figures: { "one/closed/cpuPerMessage": { value, unit: "ns", costRatio: costRatioOf(at) } },
  }));
}

const random = seededRandom(4);
const level = (height: number, count: number) => Array.from({ length: count }, () => height * (1 + 0.03 * random()));

describe("the gate's history", () => {
  it("is refused before a run whose result it could not take", () => {
    const file = join(directory, "history.jsonl");
    expect(() => requireAppendable(file)).not.toThrow();
    expect(() => requireAppendable(join(directory, "none", "history.jsonl"))).toThrow(/cannot be written \(ENOENT/);
    expect(() => requireAppendable(directory)).toThrow(/cannot be read \(EISDIR/);
    writeFileSync(file, "{}\n");
    expect(() => requireAppendable(file)).toThrow(/line 1, is not a gated run/);
  });

  it("grows by a line for each run and is read back", () => {
    const file = join(directory, "history.jsonl");
    const result = {
      startedAt: "2026-03-01T12:00:00.000Z",
      candidate: { commit: "5d6e7f8", settings: {} as Record<string, unknown> },
      environment: { fingerprint: "m" },
      outcome: "passed",
      figures: [
        { id: "a/b/c", unit: "ns", candidate: 12.5, better: "lower", ratio: { point: 1.25 } },
        { id: "a/b/d", unit: "messages/s", candidate: 80, better: "higher", ratio: { point: 0.8 } },
      ],
    } as GateResult;
    appendHistory(file, result);
    appendHistory(file, result);
    expect(loadHistory(file)).toHaveLength(2);
    expect(loadHistory(file)[1]!.figures).toEqual({
      "a/b/c": { value: 12.5, unit: "ns", costRatio: 1.25 },
      "a/b/d": { value: 80, unit: "messages/s", costRatio: 1.25 },
    });
    const [older] = runs([1]);
    const { costRatio: _, ...plain } = older!.figures["one/closed/cpuPerMessage"]!;
    writeFileSync(join(directory, "older"), JSON.stringify({ ...older, figures: { a: plain } }));
    expect(loadHistory(join(directory, "older"))[0]!.figures.a!.costRatio).toBeNull();
    writeFileSync(file, readFileSync(file, "utf8").trimEnd());
    appendHistory(file, result);
    expect(readFileSync(file, "utf8").split("\n")).toHaveLength(4);
    expect(loadHistory(file)).toHaveLength(3);
    appendFileSync(file, "nonsense\n");
    expect(() => loadHistory(file)).toThrow(/line 4, is not a gated run/);
    expect(() => loadHistory(join(directory, "no"))).toThrow(/There is no history/);
  });

  it("finds where the level changed, and names the run and the size", () => {
    const histories = analyseHistory(runs([...level(1000, 15), ...level(1100, 15)]));
    expect(histories[0]!.changes.map(({ at }) => at)).toEqual([15]);
    expect(historyTerminal(histories)).toMatch(/ccccc15, 2026-01-16: 1\.0\d.µs → 1\.1\d.µs \(\+(9|10)\.\d %/);
    const page = historyPage(histories);
    expect(page.match(/class="level"/g)).toHaveLength(2);
    expect(page).not.toContain("<script");
  });

  it("says in how many runs the candidate was worse and better, and when a gate finds nearly always the same", () => {
    const words = (costRatioOf: (at: number) => number | null, count = 30) =>
      historyTerminal(analyseHistory(runs(level(1000, count), "m", {}, costRatioOf)));
    expect(words((at) => (at % 2 === 0 ? 1.02 : 0.98))).toContain("Worse than its reference in 15 runs, better in 15.");
    expect(words((at) => (at % 2 === 0 ? 1.02 : 0.98))).not.toContain("leans");
    expect(words((at) => (at === 7 ? 0.99 : 1.01))).toMatch(/29 runs, better in 1\. The gate leans to "worse"/);
    expect(words(() => 0.99)).toContain('leans to "better"');
    expect(words(() => 1.01, 9)).not.toContain("leans");
    expect(words(() => null)).not.toContain("reference");
    expect(historyPage(analyseHistory(runs(level(1000, 30), "m", {}, () => 1.1)))).toContain("The gate leans to");
  });

  it("never judges the last run alone, however far off it is", () => {
    const histories = analyseHistory(runs([...level(1000, 30), 5000]));
    expect(histories[0]!.changes).toEqual([]);
    expect(historyTerminal(histories)).toContain("No change of level.");
  });

  it("says nothing before ten runs, and leaves other machines and other settings out", () => {
    expect(analyseHistory(runs([1, 1, 1, 1, 9, 9, 9, 9]))[0]!.changes).toEqual([]);
    const mixed = [...runs(level(2000, 20), "other"), ...runs(level(1000, 12))];
    const [history] = analyseHistory(mixed);
    expect(history!.values).toHaveLength(12);
    expect(history!.changes).toEqual([]);
    expect(analyseHistory([])).toEqual([]);
    expect(historyTerminal([])).toBe("No run with a timing was appended yet.");
    expect(historyTerminal(analyseHistory(runs([1])))).toContain("1 run; changes are looked for from 10 on.");
    const others = [...runs(level(2000, 20), "m", { checksum: false }), ...runs(level(1000, 12))];
    expect(analyseHistory(others)[0]).toMatchObject({ changes: [], values: { length: 12 } });
    writeFileSync(join(directory, "empty"), "");
    expect(loadHistory(join(directory, "empty"))).toEqual([]);
  });
});
