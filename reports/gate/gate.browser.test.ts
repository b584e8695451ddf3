import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FigureHistory } from "../../results/gate-history.js";
import { browserProblem, openPage } from "../headless-browser.js";
import { historyPage } from "./history.js";
import { gatePage } from "./page.js";
import { hostileResult, syntheticResult } from "./synthetic-result.js";

const problem = await browserProblem();
if (problem !== null) console.warn(`Tests of the gate's pages are skipped: ${problem}.`);
const ID = "one/cpu/<img src=x onerror=alert(1)>";
const runs = Array.from({ length: 20 }, (_, at) => (at < 10 ? 100 : 110) + (at % 3));
const HISTORY: FigureHistory = {
  id: ID,
  unit: "ns",
  entries: runs.map((value, at) => ({
    formatVersion: 1,
    at: new Date(Date.UTC(2026, 0, 1 + at)).toISOString(),
    commit: `${at}`.padStart(7, "c"),
    fingerprint: "m",
    outcome: "passed",
    settings: {},
    figures: { [ID]: { value, unit: "ns", costRatio: null } },
  })),
  values: runs,
  changes: [{ at: 10, p: 0.001 }],
  levels: [101, 111],
  balance: { worse: 12, better: 8, leans: null },
};

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "logduel-gate-page-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function written(page: string): string {
  const path = join(directory, "page.html");
  writeFileSync(path, page);
  return pathToFileURL(path).href;
}

describe.skipIf(problem !== null)("the gate's pages in a browser", { timeout: 60_000 }, () => {
  it.each([
    ["as usual", syntheticResult(), "Regression"],
    ["with hostile names", hostileResult(), "Regression"],
    [
      "without figures",
      syntheticResult({ figures: [], counters: [], outcome: "inconclusive", exitCode: 3 }),
      "Inconclusive",
    ],
  ])("%s: ask for nothing, complain of nothing, and fit a narrow screen", async (_, result, headline) => {
    const address = written(gatePage(result));
    const { page, browser, requests, complaints } = await openPage(address, { viewport: { width: 390, height: 800 } });
    try {
      expect(await page.textContent("#headline")).toBe(headline);
      expect(requests.filter((request) => !request.startsWith("data:"))).toEqual([address]);
      expect(complaints).toEqual([]);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(width).toBeLessThanOrEqual(390);
      expect(await page.locator("svg circle.candidate").count()).toBeGreaterThanOrEqual(result.figures.length);
      expect(await page.locator("#counters tbody tr").count()).toBe(result.counters.length);
    } finally {
      await browser.close();
    }
  });

  it("draw a history with its levels, inert", async () => {
    const { page, browser, complaints } = await openPage(written(historyPage([HISTORY])));
    try {
      expect(await page.textContent("h2")).toBe(ID);
      expect(await page.textContent("li")).toContain("+9.9 %");
      const levels = await page
        .locator("svg .level")
        .evaluateAll((lines) =>
          lines.map((line) => line.getBoundingClientRect()).map(({ width, y }) => [width > 100, y]),
        );
      expect(levels.map(([isWide]) => isWide)).toEqual([true, true]);
      expect(Number(levels[0]![1])).toBeGreaterThan(Number(levels[1]![1]));
      expect(await page.locator("svg circle").count()).toBe(20);
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});
