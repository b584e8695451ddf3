import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { gateResultSchema } from "../../results/gate.js";
import { githubAnnotations, junitXml } from "./ci.js";
import { gateMarkdown, gateTerminal, writeGateReports } from "./index.js";
import { gatePage } from "./page.js";
import { hostileResult, syntheticResult as result } from "./synthetic-result.js";

/** Counts elements, and fails where a tag is not closed or an attribute not quoted. */
function parseXml(xml: string): Record<string, number> {
  const counts: Record<string, number> = {};
  const open: string[] = [];
  const tag = /<(\/?)([\w-]+)((?:\s+[\w-]+="[^"<]*")*)\s*(\/?)>/g;
  const rest = xml.replace(/^<\?xml[^>]*\?>/, "").replace(tag, (_, closing, name, _attributes, empty) => {
    if (closing) expect(open.pop()).toBe(name);
    else {
      counts[name] = (counts[name] ?? 0) + 1;
      if (!empty) open.push(name);
    }
    return "";
  });
  expect(open).toEqual([]);
  expect(rest).not.toMatch(/[<>]/);
  expect(rest.replace(/&(amp|lt|gt|quot|#10);/g, "")).not.toContain("&");
  return counts;
}

describe("the gate's result", () => {
  it("is valid by its own schema", () => {
    expect(gateResultSchema.parse(result())).toEqual(result());
  });

  it("names figure, both values, ratio with interval, p, verdict and the command on a terminal and in Markdown", () => {
    for (const text of [gateTerminal(result()), gateMarkdown(result())]) {
      expect(text).toContain("one, closed: CPU per message");
      expect(text).toMatch(/1\.00.µs/);
      expect(text).toMatch(/1\.10.µs/);
      expect(text).toContain("1.100 (1.078 – 1.122)");
      expect(text).toContain("0.008");
      expect(text).toContain("npm run gate -- --against main --set 'a=b c' --seed 7");
      expect(text).toContain("one, appending: sync calls");
      expect(text).toMatch(/Counters: 1 risen, 1 equal/);
    }
    expect(gateMarkdown(result())).toMatch(/^<!-- logduel gate -->\n\n## ❌ Regression: working tree against main/);
    expect(gateMarkdown(result())).toContain("1.100, 1.120, 1.090");
  });

  it("names figure, values, ratio with interval, p, block data and the command in every output", () => {
    const outputs = {
      terminal: gateTerminal(result()),
      markdown: gateMarkdown(result()),
      junit: junitXml(result()),
      annotations: githubAnnotations(result()).join("\n"),
      page: gatePage(result()),
    };
    for (const [name, text] of Object.entries(outputs)) {
      const words = text.replaceAll("&#39;", "'").replaceAll("&nbsp;", "\u00a0");
      expect(words, name).toContain("one, closed: CPU per message");
      expect(words, name).toMatch(/1\.00.µs/);
      expect(words, name).toMatch(/1\.10.µs/);
      expect(words, name).toContain("1.100 (1.078 – 1.122)");
      expect(words, name).toContain("0.008");
      expect(words, name).toMatch(/1\.100.*1\.120.*1\.090/s);
      expect(words, name).toContain("npm run gate -- --against main --set 'a=b c' --seed 7");
    }
    const [figure] = JSON.parse(JSON.stringify(result())).figures;
    expect(figure).toMatchObject({ reference: 1000, candidate: 1103, ratio: { lower: 1.1 * 0.98 } });
    expect(figure.screen.blocks[1].candidate).toEqual([1120, 1120]);
  });

  it("gives a command that a shell reads as it was given, also out of Markdown", async () => {
    const command = ["--engine", "./it's `a` $HOME.js", "--set", 'flush={"every":{"ms":5}}', "--against-set", "a=\\n*"];
    const terminal = /To repeat: npm run gate -- (.*)$/.exec(gateTerminal(result({ command })))![1]!;
    const { stdout } = await execa("sh", ["-c", `printf '%s\\0' ${terminal}`]);
    expect(stdout.split("\0").slice(0, -1)).toEqual([...command, "--seed", "7"]);
    expect(gateMarkdown(result({ command }))).toContain(`To repeat: \`\` npm run gate -- ${terminal} \`\``);
  });

  it("is skipped as a whole in JUnit when it decided nothing, so that nobody reads it as passed", () => {
    const none = result({
      outcome: "inconclusive",
      exitCode: 3,
      figures: [],
      counters: [],
      reasons: ["raise --budget"],
    });
    expect(parseXml(junitXml(none))).toMatchObject({ testcase: 1, skipped: 1 });
    expect(junitXml(none)).toContain("raise --budget");
  });

  it("tells what a counter is for each message, and of batches how many messages they hold", () => {
    for (const text of [gateMarkdown(result()), gatePage(result()), junitXml(result())]) {
      expect(text).toContain("0.200 per message");
      expect(text).toContain("20.0 messages per batch");
    }
  });

  it("is JUnit XML that parses: regressions fail, what is open is skipped, wrong data is an error", () => {
    const xml = junitXml(result({ failures: ["one/closed, candidate: lost"], outcome: "failed", exitCode: 4 }));
    expect(parseXml(xml)).toMatchObject({ testsuite: 1, testcase: 7, failure: 2, skipped: 1, error: 1 });
    expect(xml).toContain('tests="7" failures="2" errors="1" skipped="1"');
    expect(xml).toContain('name="one/closed/cpuPerMessage"');
    expect(xml).toContain('timestamp="2026-03-01T12:00:00"');
  });

  it("annotates on GitHub by the gravity of the outcome", () => {
    const [annotation, ...others] = githubAnnotations(result());
    expect(annotation).toMatch(
      /^::error title=logduel gate%3A regression::one\/closed\/cpuPerMessage: worse by more than 3 %25\.%0Aone, closed: CPU per message: [^\n]*%0ATo repeat: npm run gate [^\n]*$/,
    );
    expect(others).toEqual([]);
    expect(annotation).not.toContain("durable throughput");
    expect(
      githubAnnotations(result({ reasons: ["one/appending/syncCalls: 0.1 more for each message."] }))[0],
    ).toContain(
      "%0Aone, appending: sync calls: reference 10, candidate 20 (0.200 per message); 0.1 more for each message%0A",
    );
    expect(githubAnnotations(result({ reasons: ["No counter rose."] }))[0]).toMatch(
      /CPU per message.*durable throughput/,
    );
    expect(githubAnnotations(result({ outcome: "inconclusive" }))[0]).toMatch(/^::warning /);
    expect(githubAnnotations(result({ outcome: "passed" }))[0]).toMatch(/^::notice /);
  });

  it("is a page with the figures, a picture of the ratios and every block, and no script", () => {
    const page = gatePage(result());
    expect(page).toContain('<h1 id="headline">Regression</h1>');
    expect(page).toContain("1.100 (1.078 – 1.122)");
    expect(page.match(/<svg /g)).toHaveLength(1);
    expect(page.match(/<td>RCCG<\/td>/g)).toHaveLength(3 * 5);
    expect(page).not.toContain("<script");
    expect(page).toContain("default-src 'none'");
  });

  it("stays inert when every name is hostile", () => {
    const hostile = hostileResult();
    const page = gatePage(hostile);
    expect(page).not.toContain("<script");
    expect(page).not.toContain("\u202e");
    // Within a code span nothing is markup.
    expect(gateMarkdown(hostile).replace(/`[^`]*`/g, "")).not.toContain("<script");
    expect(gateTerminal(hostile)).not.toContain("\u001b");
    for (const line of githubAnnotations(hostile)) expect(line.split("\n")).toHaveLength(1);
    parseXml(junitXml(hostile));
  });

  it("is written as four files", async () => {
    const directory = mkdtempSync(join(tmpdir(), "logduel-gate-report-"));
    try {
      await writeGateReports(result(), join(directory, "new"));
      expect(readdirSync(join(directory, "new")).sort()).toEqual(["gate.html", "gate.json", "gate.md", "gate.xml"]);
      const stored = JSON.parse(readFileSync(join(directory, "new", "gate.json"), "utf8"));
      expect(gateResultSchema.parse(stored)).toEqual(result());
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
