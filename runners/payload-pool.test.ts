import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { messagesSchema } from "../results/schema.js";
import { createPayloadPool, describePayloadFile, PayloadFileError } from "./payload-pool.js";

const shape = (sizeBytes: number, compressibleFraction: number, sizes = "fixed") =>
  messagesSchema.parse({ sizeBytes, compressibleFraction, sizes });

describe("createPayloadPool", () => {
  it("makes distinct payloads of the asked size, in the heap", () => {
    for (const sizeBytes of [1, 2, 100, 1_024, 16_384, 1_048_576]) {
      const values = createPayloadPool(shape(sizeBytes, 0.5), 3);
      expect(new Set(values.map((value) => Buffer.from(value).toString("latin1"))).size).toBe(values.length);
      expect(values.every(({ byteLength, byteOffset }) => byteOffset > 0 && byteLength === sizeBytes)).toBe(true);
    }
  });

  it("stays within a cache's size, in a prime number", () => {
    const sizes = [100, 1_024, 4_096, 65_536].map((sizeBytes) => {
      const values = createPayloadPool(shape(sizeBytes, 0), 3);
      expect(values.length * sizeBytes).toBeLessThanOrEqual(256 * 1_024);
      return values.length;
    });
    expect(sizes).toEqual([251, 251, 61, 3]);
  });

  it("honours the compressible fraction", () => {
    for (const compressibleFraction of [0, 0.25, 1]) {
      const payload = createPayloadPool(shape(10_000, compressibleFraction), 5)[0]!;
      const filler = payload.at(-1)!;
      const share = payload.filter((byte) => byte === filler).length / payload.length;
      expect(Math.abs(share - (compressibleFraction + (1 - compressibleFraction) / 256))).toBeLessThan(0.01);
    }
  });

  it("is the same for the same seed and another for another", () => {
    const contents = (seed: number) => createPayloadPool(shape(64, 0), seed).map((value) => [...value]);
    expect(contents(9)).toEqual(contents(9));
    expect(contents(9)).not.toEqual(contents(10));
  });

  it("follows a distribution of sizes: its mean, its spread, no two alike", () => {
    const sizesOf = (sizes: string) => createPayloadPool(shape(500, 0.5, sizes), 1).map(({ byteLength }) => byteLength);
    const mean = (sizes: number[]) => sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
    const uniform = sizesOf("uniform");
    expect(mean(uniform)).toBeCloseTo(500, -1);
    expect([Math.min(...uniform), Math.max(...uniform)]).toEqual([2, 998]);
    const exponential = sizesOf("exponential");
    expect(Math.abs(mean(exponential) / 500 - 1)).toBeLessThan(0.02);
    const longerThanMean = exponential.filter((size) => size > 500).length / exponential.length;
    expect(longerThanMean).toBeCloseTo(Math.exp(-1), 2);
    // In no order: neighbours in size are not sent one after the other.
    expect(uniform).not.toEqual([...uniform].sort((a, b) => a - b));
    const values = createPayloadPool(shape(10, 1, "exponential"), 1);
    expect(new Set(values.map((value) => Buffer.from(value).toString("latin1"))).size).toBe(values.length);
  });
});

describe("a file of payloads", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "logduel-payload-"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const write = (content: string | Uint8Array) => {
    const path = join(directory, "lines");
    writeFileSync(path, content);
    return path;
  };
  const linesOf = (path: string) =>
    createPayloadPool(messagesSchema.parse({ ...describePayloadFile(path), compressibleFraction: 0 }), 1).map((line) =>
      Buffer.from(line).toString("latin1"),
    );

  it("gives its lines in their order, byte for byte, without their ends and without empty ones", () => {
    const path = write(Buffer.from("one\r\n\ntwo\xff\n\r\nthree \r\r\nlast", "latin1"));
    expect(linesOf(path)).toEqual(["one", "two\xff", "three \r", "last"]);
    expect(describePayloadFile(path)).toMatchObject({ payloadFile: { path, lineCount: 4 }, sizeBytes: 5 });
  });

  it.runIf(existsSync("/usr/bin/mkfifo"))(
    "refuses a pipe, a device and a directory at once instead of waiting for lines",
    () => {
      const pipe = join(directory, "pipe");
      execFileSync("/usr/bin/mkfifo", [pipe]);
      for (const path of [pipe, "/dev/zero", directory]) {
        expect(() => describePayloadFile(path)).toThrow(
          /^The payload file .* is no regular file; give one with lines\.$/,
        );
      }
    },
  );

  it("refuses a file that is larger than the engines' heap can take, without reading it", () => {
    const path = write("x");
    truncateSync(path, 64 * 1024 * 1024 + 1);
    expect(() => describePayloadFile(path)).toThrow(/has more than 64 MiB; give a sample of its lines\.$/);
  });

  it("refuses what holds nothing, is not there, or changes between plan and trial", () => {
    expect(() => describePayloadFile(write("\n\r\n"))).toThrow(PayloadFileError);
    expect(() => describePayloadFile(join(directory, "missing"))).toThrow(/missing cannot be read/);
    expect(() => describePayloadFile(directory)).toThrow(PayloadFileError);
    const path = write("a\n");
    const messages = messagesSchema.parse({ ...describePayloadFile(path), compressibleFraction: 0 });
    write("b\n");
    expect(() => createPayloadPool(messages, 1)).toThrow(/has changed since the run was planned/);
  });
});
