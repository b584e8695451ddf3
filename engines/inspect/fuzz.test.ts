import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seededRandom } from "../storage/seeded-random.js";
import { NotRecognizedError } from "./inspect.js";
import type { BatchLine } from "./report.js";
import { damageOf, flip, look, Workspace, writeCommitlog, writePartitionedLog } from "./testing.js";
import { reportText } from "./text.js";

const SEED = 20_231_114;
const FLIPS = 200;
/** Where a record's body begins, IPv4 hosts, and its size. */
const BODY_AT = 88;
const BODY_SIZE_BYTES = 100;

const workspace = new Workspace();
afterAll(() => workspace.remove());

describe("a single flipped bit", () => {
  let partitioned: string;
  let store: string;

  beforeAll(async () => {
    [partitioned, store] = [workspace.path(), workspace.path()];
    await (await writePartitionedLog(partitioned)).close();
    await (await writeCommitlog(store)).close();
  });

  /** Flips one bit of each of so many places, drawn anew, and wants each to be found in the right batch or record. */
  async function expectFound(
    directory: string,
    within: (line: BatchLine) => [from: number, to: number],
  ): Promise<void> {
    const random = seededRandom(SEED);
    const { batches } = look(directory);
    for (let i = 0; i < FLIPS; i++) {
      const line = batches[Math.floor(random() * batches.length)]!;
      const path = join(directory, line.file);
      const bytes = readFileSync(path);
      const [from, to] = within(line);
      const at = line.positionBytes + from + Math.floor(random() * (to - from));
      const mask = 1 << Math.floor(random() * 8);
      flip(bytes, at, mask);
      writeFileSync(path, bytes);
      const found = damageOf(path);
      expect(found, `seed ${SEED}, ${line.file}, byte ${at}, mask ${mask}`).toMatchObject([
        { positionBytes: line.positionBytes },
      ]);
      flip(bytes, at, mask);
      writeFileSync(path, bytes);
      await turn();
    }
    expect(damageOf(directory)).toEqual([]);
  }

  it("anywhere in a record batch is found, at the batch", async () => {
    await expectFound(partitioned, ({ sizeBytes }) => [0, sizeBytes]);
  });

  it("in a commitlog body is found, at the message", async () => {
    await expectFound(store, () => [BODY_AT, BODY_AT + BODY_SIZE_BYTES]);
  });
});

describe("random bytes", () => {
  const random = seededRandom(SEED);
  const noise = (sizeBytes: number) => {
    const bytes = Buffer.alloc(sizeBytes);
    for (let at = 0; at < sizeBytes; at++) bytes[at] = random() * 256;
    return bytes;
  };

  /** The only error that an inspection may end with is the one that it names. */
  function inspectAnything(path: string): void {
    try {
      const { report } = look(path);
      expect(reportText(report, true)).not.toBe("");
      JSON.stringify(report);
    } catch (error) {
      expect(error, `seed ${SEED}`).toBeInstanceOf(NotRecognizedError);
    }
  }

  it("under every name that is looked at make no inspection fail", async () => {
    const stem = "00000000000000000000";
    const names = [
      ...[".lock", ".kafka_cleanshutdown", "recovery-point-offset-checkpoint", "log-start-offset-checkpoint"],
      ...["replication-offset-checkpoint", "cleaner-offset-checkpoint", "meta.properties", "x.tmp"],
      ...[`t-0/${stem}.log`, `t-0/${stem}.index`, `t-0/${stem}.timeindex`, `t-0/${stem}.txnindex`],
      ...[`t-0/${stem}.snapshot`, "t-0/leader-epoch-checkpoint", "t-0/partition.metadata", `t-0/${stem}.log.swap`],
      ...[`commitlog/${stem}`, "commitlog/00000000000000002000", "commitlog/stray", `consumequeue/t/0/${stem}`],
      ...["consumequeue/t/0/00000000000000000007", "consumequeue/t/stray", "index/20231114221320123", "index/stray"],
      ...["checkpoint", "abort", "lock", "clean-shutdown.json"],
    ];
    for (let round = 0; round < 24; round++) {
      for (const isStore of [false, true]) {
        const directory = workspace.path();
        for (const name of names) {
          const belongs = /^(commitlog|consumequeue|index)\/|^(checkpoint|abort|lock|clean-shutdown.json)$/.test(name);
          if (belongs !== isStore || random() < 0.2) continue;
          mkdirSync(join(directory, name, ".."), { recursive: true });
          const sizeBytes = Math.floor(random() * [5, 100, 2_000][round % 3]!);
          writeFileSync(join(directory, name), random() < 0.3 ? Buffer.alloc(sizeBytes) : noise(sizeBytes));
        }
        mkdirSync(directory, { recursive: true });
        inspectAnything(directory);
        if (round % 6 === 0) {
          for (const name of names) inspectAnything(join(directory, name));
        }
        rmSync(directory, { recursive: true });
        await turn();
      }
    }
  });

  it("written over parts of real directories make no inspection fail", async () => {
    const originals = [workspace.path(), workspace.path()];
    await (await writePartitionedLog(originals[0]!, { compression: "zstd" })).close();
    await (await writeCommitlog(originals[1]!)).close();
    for (const original of originals) {
      const { report } = look(original);
      const paths = [...report.files, ...report.partitions.flatMap(({ files }) => files)].map(({ path }) => path);
      for (let round = 0; round < 24; round++) {
        const directory = workspace.path();
        cpSync(original, directory, { recursive: true });
        for (const path of paths) {
          const bytes = readFileSync(join(directory, path));
          if (random() < 0.5 || bytes.byteLength === 0) continue;
          const at = Math.floor(random() * bytes.byteLength);
          noise(Math.floor(random() * 40)).copy(bytes, at);
          writeFileSync(join(directory, path), random() < 0.8 ? bytes : bytes.subarray(0, at));
        }
        inspectAnything(directory);
        rmSync(directory, { recursive: true });
        await turn();
      }
    }
  });
});
