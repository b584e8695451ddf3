import { describe, expect, it } from "vitest";
import { parseOptions } from "./options.js";

describe("the gate's command line", () => {
  it("knows what it is asked for", () => {
    expect(parseOptions(["--against", "main"]).mode).toBe("compare");
    expect(parseOptions(["--engine", "a", "--against-engine", "b"]).mode).toBe("compare");
    expect(parseOptions(["--set", "flush=sync"]).mode).toBe("compare");
    expect(parseOptions(["--baseline", "x.json"]).mode).toBe("baseline");
    expect(parseOptions(["--save-baseline", "x"]).mode).toBe("save-baseline");
    expect(parseOptions(["--self-test", "--minutes", "5"]).mode).toBe("self-test");
    expect(parseOptions(["--history", "h.jsonl"]).mode).toBe("history");
  });

  it("reads settings as JSON or words, nested by dots", () => {
    const { options } = parseOptions([
      ...["--set", "flush=sync", "--set", "lingerMs=5", "--set", "plant.copies=true"],
      ...["--set", 'flush={"every":{"ms":5}}', "--against-set", "plant.checksums=2"],
    ]);
    expect(options.set).toEqual({ flush: { every: { ms: 5 } }, lingerMs: 5, plant: { copies: true } });
    expect(options.againstSet).toEqual({ plant: { checksums: 2 } });
  });

  it("reads times", () => {
    const budget = (text: string) => parseOptions(["--against", "x", "--budget", text]).options.budgetMs;
    expect([budget("90s"), budget("8m"), budget("1.5h")]).toEqual([90_000, 480_000, 5_400_000]);
    expect(parseOptions(["--against", "x"]).options.budgetMs).toBeUndefined();
  });

  it("refuses in one sentence what cannot be", () => {
    const refusals: [string[], RegExp][] = [
      [[], /^Say what to compare with: --against REF/],
      [["--against"], /argument missing; there are --against/],
      [["--bogus"], /Unknown option '--bogus'; there are/],
      [["--against", "x", "extra"], /^"extra" is one argument too many; there are --against <ref>/],
      [["--against", "x", "--profile", "huge"], /no gate profile called "huge"; there are gate, short, counters\.$/],
      [["--against", "x", "--budget", "5"], /The time "5" is not one such as/],
      [["--against", "x", "--budget", "-1m"], /is not one such as/],
      [["--against", "x", "--seed", "-1"], /seed "-1" is not a whole number/],
      [["--against", "x", "--minutes", "none"], /no number of minutes/],
      [["--self-test", "--inject", "5,x"], /no percentages such as/],
      [["--set", "nonsense"], /"nonsense" is no setting; write it as name=value/],
      [["--against-engine", "x"], /goes with --engine/],
      [["--self-test", "--baseline", "x"], /--self-test and --baseline do not go together/],
      [["--save-baseline", "x", "--against-set", "a=1"], /--save-baseline does not go with --against-set/],
      [["--self-test", "--append-history", "h"], /--self-test does not go with --append-history/],
      [["--self-test", "--against", "x"], /--self-test does not go with --against/],
    ];
    for (const [args, message] of refusals) {
      expect(() => parseOptions(args)).toThrow(message);
      try {
        parseOptions(args);
      } catch (error) {
        expect((error as Error).message).not.toContain("\n");
      }
    }
  });
});
