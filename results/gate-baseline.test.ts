import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadBaseline, requireBaselineName } from "./gate-baseline.js";

describe("baselines", () => {
  it("have names that are file names and nothing else", () => {
    for (const name of ["main", "v1.2.3", "my-machine"]) expect(() => requireBaselineName(name)).not.toThrow();
    for (const name of ["", "..", "../x", "a/b", ".hidden", "-x", "a b", "x".repeat(101)]) {
      expect(() => requireBaselineName(name)).toThrow(/cannot name a baseline/);
    }
  });

  it("are refused when they are missing or of another form", () => {
    const directory = mkdtempSync(join(tmpdir(), "logduel-baseline-"));
    try {
      const file = join(directory, "x.json");
      expect(() => loadBaseline(file)).toThrow(/There is no baseline/);
      writeFileSync(file, '{"formatVersion":1}');
      expect(() => loadBaseline(file)).toThrow(/is no baseline of this version/);
      writeFileSync(file, "{");
      expect(() => loadBaseline(file)).toThrow(/is no baseline of this version/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
