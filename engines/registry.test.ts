import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { EngineLoadError } from "./errors.js";
import { engineNames, loadEngine } from "./registry.js";

let directory: string;
beforeAll(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-registry-"));
});
afterAll(() => fs.rmSync(directory, { recursive: true, force: true }));

function moduleFile(name: string, source: string): string {
  const file = path.join(directory, name);
  fs.writeFileSync(file, source);
  return file;
}

it("loads every registered engine under its own name", async () => {
  for (const name of engineNames()) expect((await loadEngine(name)).name).toBe(name);
});

it("names what exists when an engine does not", async () => {
  for (const name of ["nul", "__proto__", "constructor", ""]) {
    await expect(loadEngine(name)).rejects.toThrow(EngineLoadError);
    await expect(loadEngine(name)).rejects.toThrow(engineNames().join(", "));
  }
});

const COMPLETE = {
  name: '"mine"',
  description: '"Mine."',
  settingsSchema: "{ safeParse() {} }",
  storesMessages: "false",
  open: "() => {}",
};
const definitionOf = (fields: Record<string, string>) =>
  `export default { ${Object.entries(fields).map(([key, value]) => `${key}: ${value}`)} };`;

it("loads a third party's module by path, relative to the working directory or absolute", async () => {
  const file = moduleFile("mine.mjs", definitionOf(COMPLETE));
  expect((await loadEngine(file)).name).toBe("mine");
  expect((await loadEngine(`./${path.relative(process.cwd(), file)}`)).description).toBe("Mine.");
  expect((await loadEngine(`file://${file}`)).storesMessages).toBe(false);
});

it("says what a module lacks", async () => {
  const cases: [string, Record<string, string> | string, RegExp][] = [
    ["absent.mjs", "", /no default export/],
    ["broken.mjs", "export default {{", /could not be loaded/],
    ["throws.mjs", "throw new Error('no licence');", /no licence/],
    ["name.mjs", { ...COMPLETE, name: '"<script>"' }, /no usable name/],
    ["taken.mjs", { ...COMPLETE, name: '"raw"' }, /calls itself raw/],
    ["description.mjs", { ...COMPLETE, description: "1" }, /no description/],
    ["schema.mjs", { ...COMPLETE, settingsSchema: "{}" }, /no settingsSchema/],
    ["stores.mjs", { ...COMPLETE, storesMessages: "1" }, /storesMessages/],
    ["open.mjs", { ...COMPLETE, open: "null" }, /no function open/],
  ];
  for (const [name, source, reason] of cases) {
    const file = moduleFile(name, typeof source === "string" ? source : definitionOf(source));
    const failure = await loadEngine(file).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(EngineLoadError);
    expect((failure as Error).message).toMatch(reason);
    expect((failure as Error).message).toContain(name);
  }
  await expect(loadEngine("./does-not-exist.js")).rejects.toThrow(/could not be loaded/);
});
