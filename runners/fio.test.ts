import { describe, expect, it } from "vitest";
import { probeResultSchema } from "../results/schema.js";
import { parseFio } from "./fio.js";

const side = (bw_bytes: number, iops: number, total_ios: number) => ({ bw_bytes, iops, total_ios, io_kbytes: 1 });
const output = (error: number) =>
  JSON.stringify({
    "fio version": "fio-3.33",
    jobs: [{ jobname: "probe", error, read: side(800, 2, 20), write: side(4_000, 1, 10) }],
  });

describe("parseFio", () => {
  it("takes the side that the pattern is about", () => {
    expect(parseFio("random-read", 4096, output(0))).toMatchObject({ bytesPerSecond: 800, operations: 20 });
    expect(parseFio("sync-append", 4096, output(0))).toMatchObject({ bytesPerSecond: 4_000, operationsPerSecond: 1 });
    expect(() => probeResultSchema.parse(parseFio("direct-write", 4096, output(0)))).not.toThrow();
  });

  it.each(["", "{}", "fio: out of memory", output(5)])("calls a failure unavailable: %j", (text) => {
    const result = parseFio("direct-write", 4096, text);
    expect(result.unavailable).toBe("fio failed.");
    expect(() => probeResultSchema.parse(result)).not.toThrow();
  });
});
