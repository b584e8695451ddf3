import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Run } from "../results/schema.js";
import { renderHtml } from "./html/html.js";
import { terminalTable, writeReports } from "./index.js";
import { escapeMarkdown, MOST_CHARACTERS, renderMarkdown } from "./markdown.js";
import { buildModel } from "./model.js";
import { HOSTILE, syntheticRun } from "./synthetic-run.js";

const parent = mkdtempSync(join(tmpdir(), "logduel-reports-"));
const directory = join(parent, "a", "b");
afterAll(() => rmSync(parent, { recursive: true }));

/** One plain scenario and the hostile one: their charts are all that differs from a whole run. */
function smallRun(): Run {
  const run = syntheticRun({ trialCount: 2 });
  const kept = ["device-ceiling", HOSTILE.scenarioId];
  return {
    ...run,
    scenarios: run.scenarios.filter(({ id }) => kept.includes(id)),
    trials: run.trials.filter(({ scenarioId }) => kept.includes(scenarioId)),
  };
}

describe("written reports", () => {
  const run = smallRun();
  beforeAll(() => writeReports(run, directory));

  it("stay inside their directory, whatever scenarios are called", () => {
    expect(readdirSync(parent, { recursive: true }).toSorted()).toEqual([
      "a",
      "a/b",
      "a/b/charts",
      ...buildModel(run)
        .scenarios.flatMap(({ charts }) => charts.main.map(({ id }) => `a/b/charts/${id}.png`))
        .toSorted(),
      "a/b/report.html",
      "a/b/report.md",
    ]);
  });

  it("have pictures with something on them", () => {
    for (const name of readdirSync(join(directory, "charts"))) {
      const png = readFileSync(join(directory, "charts", name));
      expect(png.subarray(1, 4).toString()).toBe("PNG");
      expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([1840, 1040]);
      // An empty chart of this size compresses to far less.
      expect(png.length).toBeGreaterThan(30_000);
    }
  });

  it("show in Markdown every picture that exists, and no other", () => {
    const markdown = readFileSync(join(directory, "report.md"), "utf8");
    const shown = [...markdown.matchAll(/^!\[.*\]\((.*)\)$/gm)].map(([, path]) => path!);
    expect(shown.toSorted()).toEqual(
      readdirSync(join(directory, "charts"))
        .map((name) => `charts/${name}`)
        .toSorted(),
    );
    for (const path of shown) expect(existsSync(join(directory, path))).toBe(true);
  });

  it("leave hostile names no effect in Markdown", () => {
    const markdown = readFileSync(join(directory, "report.md"), "utf8");
    expect(markdown).not.toMatch(/<(script|img|svg|b)\b/);
    expect(markdown).not.toMatch(/(?<!\\)\]\(http/);
    expect(markdown).not.toMatch(/https?:\/\//);
    // A bar in a name would add a column.
    for (const table of markdown.matchAll(/(?:^\|.*\|$\n?)+/gm)) {
      const widths = table[0]
        .trim()
        .split("\n")
        .map((line) => line.match(/(?<!\\)\|/g)!.length);
      expect(new Set(widths).size).toBe(1);
    }
  });

  it("have one HTML file that refers to nothing outside itself", () => {
    const html = readFileSync(join(directory, "report.html"), "utf8");
    expect(html).not.toMatch(/<(link|script|img|iframe)[^>]+(src|href)="(?!data:)/);
    expect(html).not.toContain("sourceMappingURL");
  });
});

describe("the digest in Markdown", () => {
  const model = buildModel(syntheticRun({ trialCount: 2 }));
  const [scenario] = model.scenarios;
  const { throughput } = scenario!;
  const withRows = (rowCount: number) => {
    const rows = Array.from({ length: rowCount }, (_, i) => throughput.rows[i % throughput.rows.length]!);
    return { ...model, scenarios: [{ ...scenario!, throughput: { ...throughput, rows } }] };
  };
  const many = (copies: number) => ({
    ...model,
    scenarios: Array.from({ length: copies }, () => withRows(40).scenarios[0]!),
  });

  it("fits into a comment, however many scenarios and rows there are, and says where the rest is", () => {
    for (const copies of [1, 8, 20, 200]) {
      const text = renderMarkdown(many(copies));
      expect([copies, text.length <= MOST_CHARACTERS]).toEqual([copies, true]);
      expect(text).toContain("`report.html`");
    }
    expect(renderMarkdown(many(200))).toMatch(/\n… Cut here: the rest is in `report\.html`\.\n$/);
    // No line is cut in two: every row of a table ends as one.
    for (const line of renderMarkdown(many(200)).split("\n")) if (line.startsWith("|")) expect(line).toMatch(/\|$/);
  });

  it("loses nothing else to one failure that says too much", () => {
    const run = syntheticRun({ trialCount: 2 });
    const headings = (text: string) => text.match(/^## .*$/gm);
    const before = headings(renderMarkdown(buildModel(run)));
    const failed = run.trials[0]!;
    Object.assign(failed, { status: "failed", failureKind: "engine", measured: null });
    failed.failures = ["x\u{1f600}".repeat(MOST_CHARACTERS)];
    const text = renderMarkdown(buildModel(run));
    expect(headings(text)).toEqual(before);
    expect(text).toContain("(cut here: the rest is in report.html)");
    expect(text).not.toMatch(/\p{Cs}/u);
  });

  it("keeps a table whole where it can, and else leaves the limits' rows out first", () => {
    const rowsOf = (text: string) => text.split("\n").filter((line) => /^\| .*loop/.test(line));
    expect(rowsOf(renderMarkdown(withRows(throughput.rows.length)))).toHaveLength(throughput.rows.length);
    const cut = renderMarkdown(withRows(200));
    expect(rowsOf(cut)).toHaveLength(24);
    expect(rowsOf(cut).filter((row) => /^\|( [^|]+ \|)* (raw|null)\b/.test(row))).toEqual([]);
    expect(cut).toContain("176 more rows of this table are in `report.html`.");
  });
});

it("escapes all that Markdown would read", () => {
  expect(escapeMarkdown("[a](http://b) `|` <i>*x*</i> a_b @c #1")).toBe(
    "\\[a\\](http:&#47;&#47;b) \\`\\|\\` &lt;i&gt;\\*x\\*&lt;/i&gt; a\\_b &#64;c \\#1",
  );
});

describe("on a terminal", () => {
  it("shows answers, medians and failures, and no control character but line feeds", () => {
    const text = terminalTable(smallRun());
    expect(text).toContain("partitioned-log makes durable");
    expect(text).toMatch(/│ commitlog +│ closed, D1 +│ +\d+ k\/s ±[\d.]+ %/);
    expect(text).toContain("gone");
    expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u);
  });

  it("marks figures that are not valid, and gives the reason once", () => {
    const run = smallRun();
    for (const { engine, measured } of run.trials) if (engine === "raw") measured!.clockStepNs = 5e9;
    const text = terminalTable(run);
    expect(text).toMatch(/│ commitlog +│ closed, D1 +│ +\d+ k\/s ±[\d.]+ % \? +│/);
    expect(text).toMatch(/│ raw +│ closed, D1 +│ +[\d.]+ [kM]\/s ±[\d.]+ % ✗ +│/);
    expect(text.match(/Invalid: The wall clock .*\s.* came apart by 5000 ms/g)).toHaveLength(1);
    // A reason that makes other figures of the cell invalid leaves this one what it is.
    expect(text.match(/Doubtful: Cached: /g)).toHaveLength(1);
    const { validity } = buildModel(run).scenarios[0]!;
    const rows = validity.rows.map(({ cells }) => cells.map((cell) => cell.text).join(" "));
    expect(rows).toContainEqual(expect.stringMatching(/^raw closed loop durable throughput invalid The wall clock/));
  });

  it("says what several scenarios share once, below them, and what one has for itself under it", () => {
    const run = smallRun();
    for (const trial of run.trials) {
      if (trial.measured === null) continue;
      if (trial.engine === "raw") trial.measured.clockStepNs = 5e9;
      trial.measured.steady = false;
    }
    const text = terminalTable(run);
    const [steady, clock, last] = [
      "Doubtful: The throughput had not",
      "Invalid: The wall clock",
      "Of several scenarios:",
    ];
    expect([steady, clock].map((words) => text.split(words).length - 1)).toEqual([1, 1]);
    expect(text.indexOf(clock)).toBeLessThan(text.indexOf(last));
    expect(text.indexOf(steady)).toBeGreaterThan(text.indexOf(last));
    const model = buildModel(run);
    expect(model.sharedDoubts).toContainEqual(expect.stringContaining(steady));
    for (const [what, report] of [
      ["Markdown", renderMarkdown(model)],
      ["HTML", renderHtml(model)],
    ] as const) {
      expect([what, report.split(steady).length - 1]).toEqual([what, 1]);
    }
  });

  it("keeps within 120 columns, and says what the classes mean", () => {
    const run = syntheticRun({ trialCount: 2 });
    // Names that long are nobody's; they are shown whole.
    const text = terminalTable({ ...run, scenarios: run.scenarios.filter(({ id }) => id !== HOSTILE.scenarioId) });
    expect(text.split("\n").filter((line) => line.length > 120)).toEqual([]);
    expect(text.replace(/\s+/g, " ")).toContain(
      "D1 handed to the kernel: a power loss loses it; D2 fdatasync has returned",
    );
  });

  it("says at the end what the budget did not resolve", () => {
    const point = { "topology.partitionsPerTopic": 1_000 };
    const load = { model: "closed" as const, inFlight: 1_024, producers: 1 };
    const compared = { what: "comparison" as const, scenarioId: "many-partitions", point, load, pairCount: 3 };
    const engines: [string, string] = ["partitioned-log", "commitlog"];
    const run: Run = {
      ...smallRun(),
      scenarios: syntheticRun({ trialCount: 1 }).scenarios,
      budgetMs: 600_000,
      unresolved: [
        { ...compared, engines, interval: { lower: 0.9, upper: 1.2, confidence: 0.95 } },
        { ...compared, engines, pairCount: 1, interval: null },
        {
          what: "search",
          scenarioId: "device-ceiling",
          point: {},
          engine: "commitlog",
          objective: { percentile: 99, latencyNs: 5e6 },
        },
        "A sentence of an older run.",
      ],
    };
    expect(terminalTable(run).replace(/\s+/g, " ")).toContain(
      "What the run's 600 s did not suffice to resolve: - Many partitions, partitions = 1 000, closed loop, 1 024 in flight: partitioned-log ÷ commitlog lies between 0.900 and 1.20 (95 %, Student) after 3 pairs: neither a difference nor its absence is shown. - Many partitions, partitions = 1 000, closed loop, 1 024 in flight: partitioned-log ÷ commitlog has 1 of the two pairs of trials that an interval needs at least. - How near the disk's limit: commitlog has no highest rate for p99 ≤ 5.00 ms, because the time was up. - A sentence of an older run.",
    );
    expect(terminalTable({ ...run, unresolved: [] })).not.toContain("resolve");
    expect(terminalTable({ ...run, unresolved: Array(9).fill("a ÷ b.") })).toContain("… and 4 more, in the report.");
  });

  it("says that a run is partial", () => {
    expect(terminalTable(syntheticRun({ trialCount: 1, partial: true }))).toMatch(
      /This run is partial: \d+ of \d+ planned trials/,
    );
  });
});

describe("the model", () => {
  it("warns of a partial run and of mixed durability classes", () => {
    const model = buildModel(syntheticRun({ trialCount: 1, partial: true }));
    expect(model.banners).toEqual([expect.stringMatching(/^This run is partial: .* after \d+ of \d+ planned trials/)]);
    const flush = model.scenarios.find(({ slug }) => slug === "flush-policy")!;
    expect(flush.classBanner).toContain("D1 and D2");
    expect(model.scenarios[0]!.classBanner).toBeNull();
  });

  it("names which rules could not be kept, once in all, and D3 beside D2 only", () => {
    const run = syntheticRun({ trialCount: 1 });
    const notPossible = ["The cache is volatile: D3 is not claimed.", "The governor cannot be read."];
    const rulesIn = (doubts: readonly string[]) => doubts.filter((doubt) => doubt.startsWith("Not possible"));
    const rules = (...ids: string[]) => {
      const model = buildModel({
        ...run,
        scenarios: run.scenarios.filter(({ id }) => ids.includes(id)),
        environment: { ...run.environment, notPossible },
      });
      return [model.sharedDoubts, ...model.scenarios.map(({ doubts }) => doubts)].map(rulesIn);
    };
    const [cache, governor] = notPossible.map((rule) => `Not possible on this machine: ${rule}`);
    expect(rules("flush-policy")).toEqual([[], [cache, governor]]);
    expect(rules("linger")).toEqual([[], [governor]]);
    expect(rules("linger", "flush-policy")).toEqual([[governor], [], [cache]]);
  });

  it("does not call whole what retention had deleted from", () => {
    const run = syntheticRun({ trialCount: 2 });
    expect(buildModel(run).summary).toMatch(/found whole in \d+ trials\.$/);
    const [first, second] = run.trials.filter(({ verification }) => verification?.outcome === "passed");
    first!.verification!.deletedMessages = 7;
    second!.verification!.deletedMessages = 0;
    expect(buildModel(run).summary).toMatch(
      /found whole in \d+ trials, in 1 of them but for what retention had deleted\.$/,
    );
  });

  it("names what else of the machine may have shaped the figures, and its load on both sides of the run", () => {
    const run = syntheticRun({ trialCount: 1 });
    const { environment } = run;
    const cpu = { ...environment.cpu, turbo: true, siblings: false, quota: 1.5 };
    const text = renderHtml(buildModel({ ...run, environment: { ...environment, cpu } })).replaceAll("\u00a0", " ");
    expect(text).toMatch(/sharing physical ones no, governor unknown, turbo yes, limited to 1\.50 processors/);
    expect(text).toMatch(/Load average before[\s\S]{0,40}0\.31, 0\.4 and 0\.22/);
    expect(text).toMatch(/Load average after[\s\S]{0,40}1\.2, 0\.8 and 0\.4/);
  });

  it("gives every scenario a name of its own that is safe in files and addresses", () => {
    const run = smallRun();
    const ids = ["../../x", "..//x", "A/../x", "%00", "\u202e"];
    const scenarios = ids.map((id) => ({ ...run.scenarios[0]!, id }));
    const slugs = buildModel({ ...run, scenarios, trials: [] }).scenarios.map(({ slug }) => slug);
    expect(slugs).toEqual(["x", "x-2", "a-x", "00", "scenario"]);
  });
});
