import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { engineNames } from "../../engines/registry.js";
import { chooseSubjects, presentIn, whatIsMissing } from "./sides.js";

const made: string[] = [];
afterEach(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true });
});

/** As much of a build as is looked at. */
function build(scenarios: readonly string[], engines: readonly string[] = engineNames()): string {
  const directory = mkdtempSync(join(tmpdir(), "logduel-sides-test-"));
  made.push(directory);
  const file = (path: string, text: string) => {
    mkdirSync(join(directory, "dist", path, ".."), { recursive: true });
    writeFileSync(join(directory, "dist", path), text);
  };
  file("package.json", '{ "type": "module" }');
  file("engines/registry.js", `export const engineNames = () => ${JSON.stringify(engines)};`);
  for (const scenario of scenarios) file(`scenarios/${scenario}.js`, "");
  return directory;
}

it("a scenario that the reference has and the candidate lacks is missing, by name", async () => {
  const before = build(["linger", "many-topics", "linger.test"]);
  expect(await whatIsMissing({ reference: before, candidate: build(["many-topics"]) })).toEqual([
    "The scenario linger was there before and is missing now.",
  ]);
});

it("an engine that the reference has and the candidate lacks is missing, by name", async () => {
  const before = build(["linger"], [...engineNames(), "ledger"]);
  expect(await whatIsMissing({ reference: before, candidate: build(["linger"]) })).toEqual([
    "The engine ledger was there before and is missing now.",
  ]);
});

it("nothing is missing that the reference did not have", async () => {
  expect(await whatIsMissing({ reference: build(["linger"]), candidate: build(["linger", "keys"]) })).toEqual([]);
});

it("compares the engines that both builds have, and refuses a named one that the reference lacks", async () => {
  const side = (engine: string | null) => ({ ref: "v1", engine, settings: {} });
  const before = build(["linger"], ["null", "raw", "commitlog"]);
  const all = await chooseSubjects({ reference: side(null), candidate: side(null) });
  expect(all.map(({ name }) => name)).toEqual(["partitioned-log", "commitlog"]);
  expect((await presentIn(before, all, side(null))).map(({ name }) => name)).toEqual(["commitlog"]);
  const named = await chooseSubjects({ reference: side("partitioned-log"), candidate: side("partitioned-log") });
  await expect(presentIn(before, named, side("partitioned-log"))).rejects.toThrow(
    /^v1 has no engine called "partitioned-log"; it has null, raw, commitlog\./,
  );
  expect(await presentIn("/nowhere", named, { ...side("partitioned-log"), ref: null })).toEqual(named);
});
