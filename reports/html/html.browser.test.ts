import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ChartSpec } from "../chart-config.js";
import { browserProblem, type OpenPage, openPage } from "../headless-browser.js";
import { buildModel, type ReportModel } from "../model.js";
import { HOSTILE, syntheticRun } from "../synthetic-run.js";
import type { Table } from "../tables.js";
import { renderHtml } from "./html.js";

const problem = await browserProblem();
if (problem !== null) console.warn(`The page is not tested in a browser: ${problem}.`);

/** A table as the reader sees it: cells by row, with the exact figure where there is one. */
type ShownCell = { column: string; text: string; value: number | null };

describe.skipIf(problem !== null)("the report in a browser", () => {
  const directory = mkdtempSync(join(tmpdir(), "logduel-report-"));
  const file = join(directory, "report.html");
  let model: ReportModel;
  let opened: OpenPage;

  beforeAll(async () => {
    model = buildModel(syntheticRun({ trialCount: 2, partial: true }));
    writeFileSync(file, renderHtml(model));
    opened = await openPage(pathToFileURL(file).href, { viewport: { width: 1280, height: 900 } });
  });

  afterAll(async () => {
    await opened?.browser.close();
    rmSync(directory, { recursive: true });
  });

  function shown(table: Table): Promise<ShownCell[][]> {
    return opened.page.evaluate(
      (id) =>
        [...document.querySelectorAll(`#${id} tbody tr`)].map((row) =>
          [...row.querySelectorAll("td")].map((cell) => ({
            column: cell.dataset.column!,
            text: cell.textContent!,
            value: cell.querySelector("data") === null ? null : Number(cell.querySelector("data")!.value),
          })),
        ),
      table.id,
    );
  }

  it("asks for nothing but itself and complains of nothing", async () => {
    // Charts behind folds are drawn on opening: errors there would count as well.
    await opened.page.evaluate(() => {
      for (const fold of document.querySelectorAll("details")) fold.open = true;
    });
    await opened.page.waitForTimeout(300);
    expect(opened.requests.filter((url) => !url.startsWith("data:"))).toEqual([pathToFileURL(file).href]);
    expect(opened.complaints).toEqual([]);
  });

  it("shows the answers first, the run's state before any figure", async () => {
    const text = (await opened.page.locator("main").textContent())!;
    const order = ["This run is partial", "Answers", model.scenarios[0]!.answer.headline, "Every trial"];
    const positions = order.map((part) => text.indexOf(part));
    expect(positions).not.toContain(-1);
    expect(positions).toEqual(positions.toSorted((a, b) => a - b));
  });

  it("shows the figures of the analysis", async () => {
    for (const { throughput, latency, analysis } of model.scenarios) {
      for (const table of [throughput, latency]) {
        const rows = await shown(table);
        expect(rows.map((cells) => cells.map(({ text }) => text))).toEqual(
          table.rows.map(({ cells }) => cells.map(({ text, note }) => text + (note ?? ""))),
        );
      }
      const closed = analysis.groups.filter((group) => group.loadKey === "closed");
      const rows = await shown(throughput);
      const column = (name: string) => rows.map((cells) => cells.find((cell) => cell.column === name)!.value);
      expect(column("acknowledged")).toEqual(closed.map((group) => group.acknowledged?.point ?? null));
      expect(column("durable")).toEqual(closed.map((group) => group.durable?.point ?? null));
    }
  });

  it("draws every chart with the points of the analysis, on no blank canvas", async () => {
    const specs = model.scenarios.flatMap(({ charts }) => [...charts.main, ...charts.more]);
    expect(specs.length).toBeGreaterThan(20);
    const drawn = await opened.page.evaluate(() => {
      type Drawn = { data: { datasets: { label: string; data: { x: number; y: number }[] }[] } };
      const library = (globalThis as unknown as { Chart: { getChart(canvas: Element): Drawn } }).Chart;
      return [...document.querySelectorAll("canvas")].map((canvas) => {
        const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
        const colours = new Set<number>();
        for (let i = 0; i < data.length; i += 4) colours.add((data[i]! << 16) | (data[i + 1]! << 8) | data[i + 2]!);
        const { datasets } = library.getChart(canvas).data;
        return {
          id: canvas.id,
          colourCount: colours.size,
          description: canvas.getAttribute("aria-label"),
          series: datasets.map((set) => ({ name: set.label, ys: set.data.map((point) => point.y) })),
        };
      });
    });
    expect(drawn.map(({ id }) => id).toSorted()).toEqual(specs.map(({ id }) => id).toSorted());
    const byId = new Map(drawn.map((chart) => [chart.id, chart]));
    for (const spec of specs) {
      const chart = byId.get(spec.id)!;
      expect(chart.colourCount, spec.id).toBeGreaterThan(8);
      expect(chart.description, spec.id).toContain(spec.title);
      expect(chart.series).toEqual(expectedSeries(spec));
    }
  });

  it("draws how a trial fell behind whose rate was not met, where no fold hides it, and says that it failed", async () => {
    const id = "device-ceiling-backlog-1";
    const failed = model.run.trials.find(({ failureKind }) => failureKind === "rate")!;
    const { isShown, ys, caption } = await opened.page.evaluate((chartId) => {
      type Drawn = { data: { datasets: { data: { y: number }[] }[] } };
      const library = (globalThis as unknown as { Chart: { getChart(canvas: Element): Drawn } }).Chart;
      const canvas = document.querySelector(`#${chartId}`)!;
      return {
        isShown: canvas.closest("details") === null,
        ys: library.getChart(canvas).data.datasets.map((set) => set.data.map(({ y }) => y)),
        caption: canvas.closest("figure")!.querySelector("figcaption")!.textContent,
      };
    }, id);
    expect(isShown).toBe(true);
    const backlogs = failed.measured!.samples.flatMap(({ backlogMessages }) => backlogMessages ?? []);
    expect(backlogs.length).toBeGreaterThan(2);
    expect(ys).toEqual([[0, ...backlogs].map((y) => Number(y.toPrecision(5)))]);
    expect(caption).toMatch(/^FAILED: rates that were not met/);
    const rows = await shown(model.rawTrials);
    const status = rows[failed.order]!.find(({ column }) => column === "status")!;
    expect(status.text).toBe("failed12\u00a0840 due and not sent");
  });

  it("keeps hostile names inert, and legible", async () => {
    const found = await opened.page.evaluate(() => ({
      hacked: (globalThis as { hacked?: unknown }).hacked ?? null,
      foreign: document.querySelectorAll("img, svg, iframe, object, b, a[href^=http]").length,
      scripts: document.scripts.length,
      text: document.querySelector("main")!.textContent!,
    }));
    expect(found).toMatchObject({ hacked: null, foreign: 0, scripts: 3 });
    for (const name of [HOSTILE.title, HOSTILE.engine, HOSTILE.question]) expect(found.text).toContain(name);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(found.text).not.toMatch(/[\u0000-\u0008\u001b\u202a-\u202e]/);
  });

  it("fits a phone, and follows a dark theme", async () => {
    const address = pathToFileURL(file).href;
    const backgroundOf = async ({ page }: OpenPage) =>
      page.evaluate(() => {
        const canvas = document.querySelector("canvas")!;
        const [canvasRed] = canvas.getContext("2d")!.getImageData(1, 1, 1, 1).data;
        return {
          width: document.documentElement.scrollWidth,
          canvasRed,
          body: getComputedStyle(document.body).backgroundColor,
        };
      });
    expect(await backgroundOf(opened)).toMatchObject({ canvasRed: 255, body: "rgb(255, 255, 255)" });
    const phone = await openPage(address, { viewport: { width: 360, height: 740 }, colorScheme: "dark" });
    try {
      const { width, canvasRed, body } = await backgroundOf(phone);
      expect(width).toBe(360);
      expect([canvasRed, body]).toEqual([0x16, "rgb(22, 25, 28)"]);
    } finally {
      await phone.browser.close();
    }
  });
});

/** The page carries five digits, which no pixel shows. */
function expectedSeries(spec: ChartSpec) {
  return spec.series.map(({ name, points }) => ({ name, ys: points.map(({ y }) => Number(y.toPrecision(5))) }));
}
