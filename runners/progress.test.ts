import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { printable } from "../engines/printable.js";
import { createProgress, duration } from "./progress.js";

describe("createProgress", () => {
  it("writes plain lines where there is no terminal, without control characters", () => {
    const stream = new PassThrough();
    const progress = createProgress(10_000, null, stream as unknown as NodeJS.WriteStream);
    progress.begin(0, 3, "a/\u001b[31mred");
    progress.note("Failed: \u202eoops");
    progress.end();
    expect(stream.read().toString()).toBe("trial 1 of 3, 30 s left: a/\ufffd[31mred\nFailed: \ufffdoops\n");
  });

  it("tells what is left of a budget, however many trials there are", () => {
    const stream = new PassThrough();
    createProgress(10_000, Date.now() + 15_900, stream as unknown as NodeJS.WriteStream).begin(0, 3, "a");
    expect(stream.read().toString()).toMatch(/, 1[56] s of the budget left: a/);
  });

  it("draws a bar on a terminal", () => {
    const stream = Object.assign(new PassThrough(), {
      isTTY: true,
      columns: 120,
      cursorTo: () => true,
      clearLine: () => true,
    });
    const progress = createProgress(2_000, null, stream as unknown as NodeJS.WriteStream);
    progress.begin(0, 4, "linger/null");
    progress.begin(1, 4, "linger/raw");
    progress.end();
    expect(stream.read().toString()).toMatch(/trial 2 of 4, .* left: linger\/raw/);
  });
});

describe("duration", () => {
  it.each([
    [400, "0 s"],
    [59_400, "59 s"],
    [200_000, "3 min 20 s"],
    [7_500_000, "2 h 5 min"],
  ])("says %i ms as %s", (milliseconds, text) => expect(duration(milliseconds)).toBe(text));
});

describe("printable", () => {
  it("keeps letters of all scripts and replaces what acts on the terminal", () => {
    expect(printable("größe 分区 \u{1f600}")).toBe("größe 分区 \u{1f600}");
    expect(printable("a\u0007b\nc\u009bd\u2028")).toBe("a\ufffdb\ufffdc\ufffdd\ufffd");
  });
});
