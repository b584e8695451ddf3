import fc from "fast-check";
import { expect, it } from "vitest";
import type { EngineEvent, EngineListener } from "./engine.js";
import { LogFailedError } from "./errors.js";
import { durabilityOf, type FlushPolicy } from "./flush-policy.js";
import { GroupCommit } from "./group-commit.js";

/** A group commit whose syncs end when the test says so, with what the listener heard as lines. */
function subject(policy: FlushPolicy) {
  const heard: string[] = [];
  const events: EngineEvent[] = [];
  const syncs: { succeed: () => void; fail: (error: Error) => void }[] = [];
  const listener: EngineListener = {
    acknowledged: (partition, baseOffset, messageCount) => {
      heard.push(`ack ${partition} ${baseOffset}+${messageCount}`);
    },
    failed: (partition, messageCount, error) => {
      heard.push(`fail ${partition} ${messageCount} ${error.message}`);
    },
    event: (event) => events.push(event),
  };
  const commit = new GroupCommit({
    policy,
    listener,
    sync: () => new Promise((resolve, reject) => syncs.push({ succeed: resolve, fail: reject })),
  });
  return { commit, heard, events, syncs };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

it("async: acknowledges at once and never syncs by itself, but flush does", async () => {
  const { commit, heard, syncs } = subject("async");
  commit.written(3, 10, 2);
  expect(heard).toEqual(["ack 3 10+2"]);
  commit.poll(1e9);
  expect(commit.isIdle).toBe(true);
  expect(syncs).toHaveLength(0);
  const flushed = commit.flush();
  expect(syncs).toHaveLength(1);
  syncs[0]!.succeed();
  await flushed;
  await commit.flush();
  expect(syncs).toHaveLength(1);
  expect(commit.acknowledgedMessages).toBe(2);
});

it("sync: acknowledges nothing before the sync that began after the write has returned", async () => {
  const { commit, heard, syncs, events } = subject("sync");
  commit.written(0, 0, 1);
  expect(syncs).toHaveLength(0);
  expect(commit.isIdle).toBe(false);
  commit.poll(0);
  commit.written(0, 1, 1); // written after the sync began: the next one's
  commit.poll(0);
  expect(syncs).toHaveLength(1);
  expect(heard).toEqual([]);
  syncs[0]!.succeed();
  await settled();
  expect(heard).toEqual(["ack 0 0+1"]);
  expect(commit.isIdle).toBe(false);
  commit.poll(0);
  syncs[1]!.succeed();
  await settled();
  expect(heard).toEqual(["ack 0 0+1", "ack 0 1+1"]);
  expect(commit.isIdle).toBe(true);
  expect(events.map((event) => event.kind)).toEqual(["sync", "sync"]);
});

it("sync: all that waits shares one sync, and consecutive messages of a partition one acknowledgement", async () => {
  const { commit, heard, syncs } = subject("sync");
  for (let i = 0; i < 64; i++) commit.written(7, i, 1);
  commit.written(8, 0, 1);
  commit.written(7, 64, 1);
  commit.written(7, 70, 1); // does not follow on
  commit.poll(0);
  syncs[0]!.succeed();
  await settled();
  expect(heard).toEqual(["ack 7 0+64", "ack 8 0+1", "ack 7 64+1", "ack 7 70+1"]);
  expect(syncs).toHaveLength(1);
  expect(commit.acknowledgedMessages).toBe(67);
});

it("every messages: syncs when so many are unsynced", async () => {
  const { commit, heard, syncs } = subject({ every: { messages: 3 } });
  commit.written(0, 0, 2);
  commit.poll(1e9);
  expect(syncs).toHaveLength(0);
  commit.written(0, 2, 1);
  commit.poll(1e9);
  expect(syncs).toHaveLength(1);
  expect(heard).toEqual(["ack 0 0+2", "ack 0 2+1"]);
  commit.written(0, 3, 3);
  commit.poll(1e9);
  expect(syncs).toHaveLength(1);
  syncs[0]!.succeed();
  await settled();
  commit.poll(1e9);
  expect(syncs).toHaveLength(2);
});

it("every ms: syncs when something has been unsynced for so long", async () => {
  const { commit, syncs } = subject({ every: { ms: 10 } });
  commit.poll(0);
  commit.written(0, 0, 1);
  expect(commit.isIdle).toBe(false);
  commit.poll(100);
  commit.poll(109.9);
  expect(syncs).toHaveLength(0);
  commit.poll(110);
  expect(syncs).toHaveLength(1);
  syncs[0]!.succeed();
  await settled();
  commit.poll(500);
  expect(syncs).toHaveLength(1);
  expect(commit.isIdle).toBe(true);
});

it("flush needs no poll, and waits for what was written during a sync under way", async () => {
  const { commit, heard, syncs } = subject("sync");
  commit.written(0, 0, 1);
  commit.poll(0);
  commit.written(0, 1, 1);
  let isFlushed = false;
  const flushed = commit.flush().then(() => {
    isFlushed = true;
  });
  syncs[0]!.succeed();
  await settled();
  expect(isFlushed).toBe(false);
  expect(syncs).toHaveLength(2);
  syncs[1]!.succeed();
  await flushed;
  expect(heard).toEqual(["ack 0 0+1", "ack 0 1+1"]);
});

it("a failed sync fails all that waits, in order, and nothing is acknowledged ever after", async () => {
  const { commit, heard, syncs } = subject("sync");
  commit.written(0, 0, 2);
  commit.poll(0);
  commit.written(1, 0, 1);
  const flushed = commit.flush();
  syncs[0]!.fail(new Error("EIO"));
  await expect(flushed).rejects.toThrow(LogFailedError);
  expect(heard).toEqual(["fail 0 2 EIO", "fail 1 1 EIO"]);
  expect(() => commit.written(0, 2, 1)).toThrow(LogFailedError);
  commit.poll(0);
  await expect(commit.flush()).rejects.toThrow(/EIO/);
  expect(syncs).toHaveLength(1);
  expect(commit.isIdle).toBe(true);
});

it("a failed sync stops a log that acknowledges earlier, too", async () => {
  const { commit, syncs } = subject({ every: { messages: 1 } });
  commit.written(0, 0, 1);
  commit.poll(0);
  syncs[0]!.fail(new Error("EIO"));
  await settled();
  expect(() => commit.written(0, 1, 1)).toThrow(LogFailedError);
});

it("a sync that throws at once is a failed sync", async () => {
  const heard: string[] = [];
  const commit = new GroupCommit({
    policy: "sync",
    listener: { acknowledged: () => heard.push("ack"), failed: (_, count) => heard.push(`fail ${count}`) },
    sync: () => {
      throw new Error("EBADF");
    },
  });
  commit.written(0, 0, 1);
  commit.poll(0);
  await expect(commit.flush()).rejects.toThrow(LogFailedError);
  expect(heard).toEqual(["fail 1"]);
  expect(commit.isIdle).toBe(true);
});

it("after fail() a sync that was under way acknowledges nothing, although it succeeds", async () => {
  const { commit, heard, syncs } = subject("sync");
  commit.written(0, 0, 1);
  commit.poll(0);
  commit.fail(new Error("ENOSPC"));
  commit.fail(new Error("a later one"));
  syncs[0]!.succeed();
  await settled();
  expect(heard).toEqual(["fail 0 1 ENOSPC"]);
  expect(() => commit.written(0, 1, 1)).toThrow(/ENOSPC/);
});

it("a listener may append within its acknowledgement", async () => {
  const acknowledged: number[] = [];
  let next = 8;
  const commit: GroupCommit = new GroupCommit({
    policy: "sync",
    listener: {
      acknowledged: (_, baseOffset, messageCount) => {
        acknowledged.push(baseOffset);
        if (next < 100) {
          for (let i = 0; i < messageCount + 1; i++) commit.written(next, next++, 1);
        }
      },
      failed: () => {},
    },
    sync: async () => {},
  });
  for (let i = 0; i < 8; i++) commit.written(i, i, 1);
  while (!commit.isIdle) await commit.flush();
  expect(acknowledged).toEqual(Array.from({ length: next }, (_, i) => i));
});

it("acknowledges every message once, in order per partition, and none before a covering sync (any interleaving)", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.oneof(
          { weight: 6, arbitrary: fc.record({ partition: fc.nat(3), count: fc.integer({ min: 1, max: 5 }) }) },
          { weight: 2, arbitrary: fc.constant("poll" as const) },
          { weight: 2, arbitrary: fc.constant("return" as const) },
        ),
        { maxLength: 60 },
      ),
      async (steps) => {
        const written = [0, 0, 0, 0];
        const durable = [0, 0, 0, 0];
        const acknowledged = [0, 0, 0, 0];
        let running: { covers: number[]; succeed: () => void } | null = null;
        const commit = new GroupCommit({
          policy: "sync",
          listener: {
            acknowledged: (partition, baseOffset, messageCount) => {
              expect(baseOffset).toBe(acknowledged[partition]);
              acknowledged[partition]! += messageCount;
              expect(acknowledged[partition]).toBeLessThanOrEqual(durable[partition]!);
            },
            failed: () => expect.unreachable(),
          },
          sync: () =>
            new Promise((resolve) => {
              expect(running).toBeNull();
              running = { covers: [...written], succeed: resolve };
            }),
        });
        const finish = async () => {
          if (running === null) return;
          durable.splice(0, 4, ...running.covers);
          running.succeed();
          running = null;
          await settled();
          expect(acknowledged).toEqual(durable);
        };
        for (const step of steps) {
          if (step === "poll") commit.poll(0);
          else if (step === "return") await finish();
          else {
            commit.written(step.partition, written[step.partition]!, step.count);
            written[step.partition]! += step.count;
          }
        }
        while (!commit.isIdle) {
          commit.poll(0);
          await finish();
        }
        expect(acknowledged).toEqual(written);
      },
    ),
    { numRuns: 200 },
  );
});

it("names the durability of an acknowledgement by policy", () => {
  expect([durabilityOf("async"), durabilityOf({ every: { ms: 1 } }), durabilityOf("sync")]).toEqual(["D1", "D1", "D2"]);
});
