import { describe, expect, test } from "vitest";
import { decodeEpochs, decodeOffsets, encodeEpochs, encodeOffsets } from "./checkpoints.js";

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

describe("Kafka's golden checkpoints", () => {
  test("offsets", () => {
    const content = "0\n2\nt 0 20\nu 3 7\n";
    const entries = [
      { topic: "t", index: 0, offset: 20 },
      { topic: "u", index: 3, offset: 7 },
    ];
    expect(text(encodeOffsets(entries))).toBe(content);
    expect([...decodeOffsets(Buffer.from(content))]).toEqual([
      ["t-0", 20],
      ["u-3", 7],
    ]);
  });

  test("leader epochs", () => {
    const entries = [
      { epoch: 0, startOffset: 0 },
      { epoch: 3, startOffset: 42 },
    ];
    expect(Buffer.from(encodeEpochs(entries)).toString("hex")).toBe("300a320a3020300a332034320a");
    expect(decodeEpochs(Buffer.from("0\n2\n0 0\n3 42\n"))).toEqual(entries);
  });
});

test("an empty file is an empty checkpoint", () => {
  expect(decodeOffsets(Buffer.alloc(0)).size).toBe(0);
  expect(decodeEpochs(Buffer.from("0\n0\n"))).toEqual([]);
});

test.each([
  ["another version", "1\n0\n"],
  ["too few lines", "0\n2\nt 0 20\n"],
  ["too many lines", "0\n1\nt 0 20\nu 3 7\n"],
  ["a blank line at the end", "0\n1\nt 0 20\n\n"],
  ["a line of two tokens", "0\n1\nt 20\n"],
  ["no number", "0\n1\nt 0 x\n"],
  ["a negative number", "0\n1\nt 0 -1\n"],
  ["a torn file", "0\n1\nt 0"],
])("%s is refused", (_name, content) => {
  expect(() => decodeOffsets(Buffer.from(content))).toThrow(/checkpoint/);
});
