import {
  appendFileSync,
  closeSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import nodeRs from "@node-rs/crc32";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { heap } from "../heap.js";
import { DiskStorage } from "../storage/disk-storage.js";
import { inspect } from "./inspect.js";
import type { BatchLine, DamageKind } from "./report.js";
import {
  change,
  damageOf,
  flip,
  look,
  MESSAGES_PER_PARTITION,
  START_MS,
  Workspace,
  writePartitionedLog,
} from "./testing.js";

const workspace = new Workspace();
const sound = workspace.path();
const packed = workspace.path();
let batches: readonly BatchLine[];
/** Of partition 0 of `orders`. */
let bases: number[];

beforeAll(async () => {
  await (await writePartitionedLog(sound)).close();
  await (await writePartitionedLog(packed, { compression: "gzip" })).close();
  batches = look(join(sound, "orders-0")).batches;
  bases = [...new Set(batches.map(({ file }) => Number.parseInt(file, 10)))];
});
afterAll(() => workspace.remove());

function stem(segment: number): string {
  return `orders-0/${String(bases[segment]).padStart(20, "0")}`;
}

/** Batches of a segment, in order. */
function batchesOf(segment: number): BatchLine[] {
  return batches.filter(({ file }) => Number.parseInt(file, 10) === bases[segment]);
}

/** Makes a batch's checksum right again. */
function seal(bytes: Buffer, { positionBytes, sizeBytes }: BatchLine): void {
  bytes.writeUInt32BE(nodeRs.crc32c(bytes.subarray(positionBytes + 21, positionBytes + sizeBytes)), positionBytes + 17);
}

interface Case {
  readonly name: string;
  plant(directory: string): void;
  readonly kind: DamageKind;
  file(): string;
  position(): number;
  readonly what: RegExp;
}

const CASES: readonly Case[] = [
  {
    name: "a bit flipped in a record",
    plant: (directory) =>
      change(join(directory, `${stem(0)}.log`), (b) => flip(b, batchesOf(0)[1]!.positionBytes + 80, 4)),
    ...{ kind: "checksum", file: () => `${stem(0)}.log`, position: () => batchesOf(0)[1]!.positionBytes },
    what: /^a record batch with a wrong checksum\.$/,
  },
  {
    name: "a last batch cut in two",
    plant: (directory) => truncateSync(join(directory, `${stem(bases.length - 1)}.log`), end(bases.length - 1) - 10),
    ...{ kind: "torn-tail", file: () => `${stem(bases.length - 1)}.log` },
    position: () => batchesOf(bases.length - 1).at(-1)!.positionBytes,
    what: /^a record batch of which only \d+ bytes of the \d+ that it names are there\.$/,
  },
  {
    name: "a few bytes of a header at the end",
    plant: (directory) => appendFileSync(join(directory, `${stem(bases.length - 1)}.log`), "abc"),
    ...{ kind: "torn-tail", file: () => `${stem(bases.length - 1)}.log`, position: () => end(bases.length - 1) },
    what: /^a record batch of which only 3 bytes are there\.$/,
  },
  {
    name: "a preallocated tail of zeros",
    plant: (directory) =>
      truncateSync(join(directory, `${stem(bases.length - 1)}.log`), end(bases.length - 1) + 70_000),
    ...{ kind: "zero-tail", file: () => `${stem(bases.length - 1)}.log`, position: () => end(bases.length - 1) },
    what: /70000 bytes of zeros/,
  },
  {
    name: "a batch that is gone",
    plant: (directory) =>
      change(join(directory, `${stem(0)}.log`), (b) => {
        const { positionBytes, sizeBytes } = batchesOf(0)[1]!;
        return Buffer.concat([b.subarray(0, positionBytes), b.subarray(positionBytes + sizeBytes)]);
      }),
    ...{ kind: "gap", file: () => `${stem(0)}.log`, position: () => batchesOf(0)[1]!.positionBytes },
    what: /^a record batch that begins with offset 10 where 5 belongs: 5 offsets missing\.$/,
  },
  {
    name: "a batch that is there twice",
    plant: (directory) =>
      change(join(directory, `${stem(0)}.log`), (b) => {
        const { positionBytes, sizeBytes } = batchesOf(0)[1]!;
        return Buffer.concat([b.subarray(0, positionBytes + sizeBytes), b.subarray(positionBytes)]);
      }),
    ...{ kind: "overlap", file: () => `${stem(0)}.log`, position: () => batchesOf(0)[2]!.positionBytes },
    what: /^a record batch that begins with offset 5 where 10 belongs: it overlaps/,
  },
  {
    name: "a segment that is gone",
    plant: (directory) => {
      for (const suffix of [".log", ".index", ".timeindex"]) rmSync(join(directory, stem(1) + suffix));
    },
    ...{ kind: "gap", file: () => `${stem(0)}.log`, position: () => end(0) },
    what: /^its log ends before offset \d+, and the next segment begins with \d+: \d+ offsets missing\.$/,
  },
  {
    name: "an offset changed, which no checksum covers",
    plant: (directory) =>
      change(join(directory, `${stem(0)}.log`), (b) => flip(b, batchesOf(0)[1]!.positionBytes + 6, 1)),
    ...{ kind: "gap", file: () => `${stem(0)}.log`, position: () => batchesOf(0)[1]!.positionBytes },
    what: /^a record batch that begins with offset 261 where 5 belongs/,
  },
  {
    name: "a leader epoch changed, which no checksum covers",
    plant: (directory) =>
      change(join(directory, `${stem(0)}.log`), (b) => void b.writeInt32BE(7, batchesOf(0)[2]!.positionBytes + 12)),
    ...{ kind: "format", file: () => `${stem(0)}.log`, position: () => batchesOf(0)[2]!.positionBytes },
    what: /^a record batch of leader epoch 7, where leader-epoch-checkpoint says 0\.$/,
  },
  {
    name: "an unknown format",
    plant: (directory) =>
      change(join(directory, `${stem(0)}.log`), (b) => void b.writeInt8(1, batchesOf(0)[1]!.positionBytes + 16)),
    ...{ kind: "format", file: () => `${stem(0)}.log`, position: () => batchesOf(0)[1]!.positionBytes },
    what: /^a record batch of unknown format\.$/,
  },
  {
    name: "a length of nonsense",
    plant: (directory) =>
      change(join(directory, `${stem(0)}.log`), (b) => void b.writeInt32BE(-5, batchesOf(0)[1]!.positionBytes + 8)),
    ...{ kind: "format", file: () => `${stem(0)}.log`, position: () => batchesOf(0)[1]!.positionBytes },
    what: /^a record batch of impossible length\.$/,
  },
  {
    name: "records that do not fill their batch, under a checksum that is right",
    plant: (directory) =>
      change(join(directory, `${stem(0)}.log`), (b) => {
        const batch = batchesOf(0)[1]!;
        b.writeInt32BE(4, batch.positionBytes + 57);
        seal(b, batch);
      }),
    ...{ kind: "records", file: () => `${stem(0)}.log`, position: () => batchesOf(0)[1]!.positionBytes },
    what: /^a record batch with bytes after its last record, under a checksum that is right\.$/,
  },
  {
    name: "a header that contradicts its records",
    plant: (directory) =>
      change(join(directory, `${stem(1)}.log`), (b) => {
        const batch = batchesOf(1)[0]!;
        b.writeBigInt64BE(BigInt(START_MS + 999_999), batch.positionBytes + 35);
        seal(b, batch);
      }),
    ...{ kind: "records", file: () => `${stem(1)}.log`, position: () => 0 },
    what: /^a record batch that contradicts itself: its header names 1700000999999 as the largest timestamp/,
  },
  {
    name: "an index entry that points into a batch",
    plant: (directory) =>
      change(join(directory, `${stem(0)}.index`), (b) => void b.writeInt32BE(b.readInt32BE(4) + 1, 4)),
    ...{ kind: "target", file: () => `${stem(0)}.index`, position: () => 0 },
    what: /^entry 0 names byte \d+ of the log, where no record batch begins\.$/,
  },
  {
    name: "an index entry of another batch",
    plant: (directory) =>
      change(join(directory, `${stem(0)}.index`), (b) => void b.writeInt32BE(b.readInt32BE(8) - 1, 8)),
    ...{ kind: "target", file: () => `${stem(0)}.index`, position: () => 8 },
    what: /^entry 1 names offset 13 at byte \d+ of the log; offsets 10 to 14 are at byte \d+\.$/,
  },
  {
    name: "index entries out of order",
    plant: (directory) => change(join(directory, `${stem(0)}.index`), (b) => void b.writeInt32BE(1, 8)),
    ...{ kind: "order", file: () => `${stem(0)}.index`, position: () => 8 },
    what: /^entry 1 names offset 1, which does not follow 9\.$/,
  },
  {
    name: "an index entry behind the log",
    plant: (directory) => change(join(directory, `${stem(0)}.index`), (b) => void b.writeInt32BE(1_000_000, 12)),
    ...{ kind: "target", file: () => `${stem(0)}.index`, position: () => 8 },
    what: /^entry 1 names byte 1000000 of a log of \d+ bytes\.$/,
  },
  {
    name: "an index that was not trimmed",
    plant: (directory) => truncateSync(join(directory, `${stem(0)}.index`), 10_485_760),
    ...{ kind: "zero-tail", file: () => `${stem(0)}.index` },
    position: () => readFileSync(join(sound, `${stem(0)}.index`)).byteLength,
    what: /^from here on it holds \d+ entries of zeros: an index that was not trimmed/,
  },
  {
    name: "half an index entry",
    plant: (directory) => appendFileSync(join(directory, `${stem(0)}.index`), Buffer.from([0, 1, 2])),
    ...{ kind: "size", file: () => `${stem(0)}.index` },
    position: () => readFileSync(join(sound, `${stem(0)}.index`)).byteLength,
    what: /^it ends with 3 bytes that are no whole entry of 8\.$/,
  },
  {
    name: "a missing index",
    plant: (directory) => rmSync(join(directory, `${stem(1)}.index`)),
    ...{ kind: "missing", file: () => `${stem(1)}.index`, position: () => 0 },
    what: /^it is missing/,
  },
  {
    name: "a time index entry of another time",
    plant: (directory) =>
      change(join(directory, `${stem(0)}.timeindex`), (b) => void b.writeBigInt64BE(b.readBigInt64BE(0) - 1n, 0)),
    ...{ kind: "target", file: () => `${stem(0)}.timeindex`, position: () => 0 },
    what: /^entry 0 names time 1700000000008 for offset 9, whose batch's largest is 1700000000009\.$/,
  },
  {
    name: "time index entries out of order",
    plant: (directory) => change(join(directory, `${stem(0)}.timeindex`), (b) => void b.writeBigInt64BE(7n, 12)),
    ...{ kind: "order", file: () => `${stem(0)}.timeindex`, position: () => 12 },
    what: /^entry 1 names time 7, which is not after 1700000000009\.$/,
  },
  {
    name: "a time index that ends early",
    plant: (directory) => truncateSync(join(directory, `${stem(0)}.timeindex`), 12),
    ...{ kind: "lag", file: () => `${stem(0)}.timeindex`, position: () => 12 },
    what: /^it ends with time 1700000000009, and the log holds a message of \d+\.$/,
  },
  ...(["cleaned", "swap", "tmp"] as const).map(
    (suffix): Case => ({
      name: `a leftover .${suffix}`,
      plant: (directory) =>
        copyFileSync(join(directory, `${stem(0)}.log`), join(directory, `${stem(0)}.log.${suffix}`)),
      ...{ kind: "leftover", file: () => `${stem(0)}.log.${suffix}`, position: () => 0 },
      what: /opening the directory/,
    }),
  ),
  {
    name: "an index without its log",
    plant: (directory) => writeFileSync(join(directory, "orders-0", `${"9".padStart(20, "0")}.index`), ""),
    ...{ kind: "leftover", file: () => `orders-0/${"9".padStart(20, "0")}.index`, position: () => 0 },
    what: /^the log that it belongs to is not there/,
  },
  {
    name: "a recovery point beyond the log",
    plant: (directory) =>
      writeFileSync(join(directory, "recovery-point-offset-checkpoint"), "0\n2\norders 1 60\norders 0 61\n"),
    ...{ kind: "lag", file: () => "recovery-point-offset-checkpoint", position: () => 16 },
    what: /^it names 61 as the recovery point of orders-0, whose log ends at 60: messages are missing\.$/,
  },
  {
    name: "a checkpoint of nonsense",
    plant: (directory) => writeFileSync(join(directory, "log-start-offset-checkpoint"), "0\n2\norders 0 1\n"),
    ...{ kind: "format", file: () => "log-start-offset-checkpoint", position: () => 0 },
    what: /^a checkpoint does not hold what its second line announces\.$/,
  },
  {
    name: "epochs out of order",
    plant: (directory) => writeFileSync(join(directory, "orders-1/leader-epoch-checkpoint"), "0\n2\n0 0\n0 100\n"),
    ...{ kind: "order", file: () => "orders-1/leader-epoch-checkpoint", position: () => 8 },
    what: /^epoch 0 from offset 100 follows epoch 0 from offset 0\.$/,
  },
  {
    name: "a list of producers with a wrong checksum",
    plant: (directory) =>
      writeFileSync(join(directory, `orders-0/${"0".repeat(20)}.snapshot`), Buffer.from("000148674bc800000000", "hex")),
    ...{ kind: "checksum", file: () => `orders-0/${"0".repeat(20)}.snapshot`, position: () => 2 },
    what: /^its content does not match its checksum\.$/,
  },
];

function end(segment: number): number {
  const { positionBytes, sizeBytes } = batchesOf(segment).at(-1)!;
  return positionBytes + sizeBytes;
}

describe("a directory of a partitioned log", () => {
  it("is told whole: topics, partitions, segments, batches, times, codecs", () => {
    const { report } = look(sound);
    expect(report).toMatchObject({
      ...{ formatVersion: 1, layout: "partitioned-log", scope: "directory", inUse: false, closedCleanly: true },
      ...{ topicCount: 2, damage: [], notes: [] },
      log: {
        batchCount: 48,
        messageCount: 240,
        firstTimestampMs: START_MS,
        lastTimestampMs: START_MS + 59,
        codecs: { none: 48 },
      },
    });
    expect(report.partitions.map(({ topic, index }) => `${topic}-${index}`)).toEqual([
      ...["orders-0", "orders-1", "pay-ments-0", "pay-ments-1"],
    ]);
    expect(report.partitions[0]!.log).toMatchObject({ startOffset: 0, endOffset: MESSAGES_PER_PARTITION });
    expect(report.partitions[0]!.files.filter(({ kind }) => kind === "segment").length).toBe(bases.length);
    expect(bases.length).toBeGreaterThan(1);
    expect(report.files.map(({ path, says }) => [path, says])).toContainEqual([".lock", "held by nobody"]);
  });

  for (const { name, plant, kind, file, position, what } of CASES)
    it(`names file and position of ${name}`, () => {
      const directory = workspace.path();
      cpSync(sound, directory, { recursive: true });
      plant(directory);
      const found = damageOf(directory);
      expect(found).toContainEqual({
        kind,
        file: file(),
        positionBytes: position(),
        what: expect.stringMatching(what),
      });
      // One cause, one file: the indexes of a damaged log, and the checkpoint of one that lost its end, follow from it.
      const others = found.filter((each) => each.file !== file());
      if (!file().endsWith(".log")) expect(others).toEqual([]);
      for (const each of others) expect(each.file).toMatch(/index$|^recovery-point/);
      rmSync(directory, { recursive: true });
    });

  it("sees rot inside compressed batches whose checksum is right", () => {
    const directory = workspace.path();
    cpSync(packed, directory, { recursive: true });
    const batch = look(join(packed, "orders-0")).batches[1]!;
    change(join(directory, "orders-0", batch.file), (bytes) => {
      bytes[batch.positionBytes + batch.sizeBytes - 20]! ^= 1;
      seal(bytes, batch);
      return undefined;
    });
    expect(damageOf(directory)).toEqual([
      {
        ...{ kind: "records", file: `orders-0/${batch.file}`, positionBytes: batch.positionBytes },
        what: expect.stringMatching(/cannot be decompressed \(A gzip payload .*under a checksum that is right\.$/),
      },
    ]);
    expect(look(directory, { isQuick: true }).report.damage).toEqual([]);
  });

  it("goes on behind damage, and counts what is sound", () => {
    const directory = workspace.path();
    cpSync(sound, directory, { recursive: true });
    change(join(directory, `${stem(0)}.log`), (b) => flip(b, batchesOf(0)[1]!.positionBytes + 80, 4));
    expect(look(directory).report.partitions[0]!.log).toMatchObject({
      messageCount: 55,
      batchCount: 11,
      endOffset: 60,
    });
  });

  it("takes gaps for compaction where the cleaner's checkpoint names the partition", () => {
    const directory = workspace.path();
    cpSync(sound, directory, { recursive: true });
    const { positionBytes, sizeBytes } = batchesOf(0)[1]!;
    change(join(directory, `${stem(0)}.log`), (b) =>
      Buffer.concat([b.subarray(0, positionBytes), b.subarray(positionBytes + sizeBytes)]),
    );
    for (const suffix of [".index", ".timeindex"]) truncateSync(join(directory, stem(0) + suffix), 0);
    expect(damageOf(directory).some(({ kind }) => kind === "gap")).toBe(true);
    writeFileSync(join(directory, "cleaner-offset-checkpoint"), "0\n1\norders 0 20\n");
    expect(damageOf(directory).some(({ kind }) => kind === "gap")).toBe(false);
  });

  it("finds nothing wrong with what was marked for deletion", () => {
    const directory = workspace.path();
    cpSync(sound, directory, { recursive: true });
    copyFileSync(join(directory, `${stem(0)}.log`), join(directory, `${stem(0)}.log.deleted`));
    mkdirSync(join(directory, `orders-7.${"0123456789abcdef".repeat(2)}-delete`));
    const { report } = look(directory);
    expect(report).toMatchObject({ damage: [], log: { messageCount: 240 } });
    const leftovers = [...report.files, ...report.partitions[0]!.files].filter(({ kind }) => kind === "leftover");
    expect(leftovers.map(({ notes }) => notes)).toEqual([
      ["A deleted partition, on its way out."],
      ["Marked for deletion, and on its way out."],
    ]);
  });

  it("expects zeros behind active segments after a crash, and nowhere else", () => {
    const directory = workspace.path();
    cpSync(sound, directory, { recursive: true });
    rmSync(join(directory, ".kafka_cleanshutdown"));
    const last = stem(bases.length - 1);
    for (const suffix of [".log", ".index", ".timeindex"]) {
      change(join(directory, last + suffix), (bytes) => Buffer.concat([bytes, Buffer.alloc(4_800)]));
    }
    const { report } = look(directory);
    expect(report).toMatchObject({ closedCleanly: false, damage: [] });
    const notes = report.partitions[0]!.files.flatMap((file) => (file.path.startsWith(last) ? file.notes : []));
    expect(notes).toEqual([
      "4800 bytes of zeros at its end are cut when the directory is opened.",
      "600 entries of zeros at its end are cut when the directory is opened.",
      "400 entries of zeros at its end are cut when the directory is opened.",
    ]);
    change(join(directory, `${stem(0)}.index`), (bytes) => Buffer.concat([bytes, Buffer.alloc(800)]));
    expect(damageOf(directory)).toMatchObject([{ kind: "zero-tail", file: `${stem(0)}.index` }]);
  });

  it("looks at the form of records written without checksums", async () => {
    const directory = workspace.path();
    await (await writePartitionedLog(directory, { checksum: false })).close();
    const { report } = look(directory);
    expect(report).toMatchObject({ damage: [], log: { messageCount: 240 } });
    expect(report.partitions[0]!.files[0]!.notes).toEqual([expect.stringMatching(/^From byte 0 on written without/)]);
  });

  it("believes the golden list of producers", () => {
    const directory = workspace.path();
    cpSync(sound, directory, { recursive: true });
    writeFileSync(join(directory, `orders-0/${"0".repeat(20)}.snapshot`), Buffer.from("000148674bc700000000", "hex"));
    expect(damageOf(directory)).toEqual([]);
  });

  it("can be one partition, or one file, held against what lies around it", () => {
    expect(look(join(sound, "orders-1")).report).toMatchObject({
      scope: "partition",
      closedCleanly: true,
      damage: [],
      log: { endOffset: 60 },
    });
    for (const suffix of [".log", ".index", ".timeindex"]) {
      const { report } = look(join(sound, stem(0) + suffix));
      expect(report).toMatchObject({ scope: "file", damage: [] });
      expect(report.files.map(({ path }) => path)).toEqual([`${String(0).padStart(20, "0")}${suffix}`]);
    }
    const moved = workspace.path();
    mkdirSync(moved);
    copyFileSync(join(sound, `${stem(1)}.log`), join(moved, `${String(bases[1]).padStart(20, "0")}.log`));
    expect(look(join(moved, `${String(bases[1]).padStart(20, "0")}.log`)).report).toMatchObject({
      inUse: null,
      damage: [],
    });
  });

  it("shows one topic of several", () => {
    const { report, batches: listed } = look(sound, { topic: "pay-ments" });
    expect(report.partitions.map(({ topic }) => topic)).toEqual(["pay-ments", "pay-ments"]);
    expect(new Set(listed.map(({ topic }) => topic))).toEqual(new Set(["pay-ments"]));
    expect(() => look(sound, { topic: "nothing" })).toThrow(/There is no topic "nothing"/);
  });

  it.skipIf(process.platform !== "linux")("is not read where its files are sparse", () => {
    const directory = workspace.path();
    cpSync(sound, directory, { recursive: true });
    const last = join(directory, `${stem(bases.length - 1)}.log`);
    const soundBytes = readFileSync(last).byteLength;
    truncateSync(last, 500e9);
    const file = openSync(last, "r+");
    writeSync(file, "noise", 250e9);
    closeSync(file);
    const storage = new DiskStorage();
    const { damage } = inspect(storage, directory, { heap, topic: null, isQuick: false, onBatch: null });
    expect(damage).toMatchObject([{ file: `${stem(bases.length - 1)}.log`, positionBytes: soundBytes }]);
    expect(storage.counters.readBytes).toBeLessThan(50e6);
  });

  it("after a crash lacks the last indexes, which is no damage, and is not closed cleanly", async () => {
    const directory = workspace.path();
    const engine = await writePartitionedLog(directory);
    const killed = workspace.path();
    cpSync(directory, killed, { recursive: true });
    await engine.close();
    expect(look(killed).report).toMatchObject({ inUse: false, closedCleanly: false, damage: [] });
  });
});
