import { expect, test } from "vitest";
import { UnrepresentableError } from "../errors.js";
import { checkTopicName, parsePartitionDirectory, parseSegmentFile, partitionDirectory, segmentStem } from "./names.js";

test("segment files are named by their base offset in 20 digits", () => {
  expect(segmentStem(1_024)).toBe("00000000000000001024");
  expect(parseSegmentFile("00000000000000001024.log")).toEqual({ baseOffset: 1_024, suffix: ".log" });
  for (const name of [
    "1024.log",
    "00000000000000001024",
    "00000000000000001024.log.swap",
    "x.log",
    "leader-epoch-checkpoint",
  ]) {
    expect(parseSegmentFile(name)).toBeUndefined();
  }
});

test("partition directories split at the last hyphen", () => {
  expect(parsePartitionDirectory(partitionDirectory("a-1-b", 12))).toEqual({ topic: "a-1-b", index: 12 });
  for (const name of ["t", "-1", "t-", "t-01", "t-x", "t--", "..-1", "a b-1", "t-4294967296", `${"t".repeat(250)}-0`]) {
    expect(parsePartitionDirectory(name)).toBeUndefined();
  }
});

test("topic names are Kafka's", () => {
  for (const topic of ["t", "A.b_c-9", "x".repeat(249)]) expect(() => checkTopicName(topic)).not.toThrow();
  for (const topic of ["", ".", "..", "../x", "a/b", "a\0", "ä", "x".repeat(250)]) {
    expect(() => checkTopicName(topic)).toThrow(UnrepresentableError);
  }
});
