import { expect, it } from "vitest";
import { connect } from "../engine.contract-serving.js";
import { OffsetOutOfRangeError } from "../errors.js";
import { driven, ENGINES, open, readAll, startWriter, temporaryDirectory } from "./testing.js";

const KEEPS_LITTLE: Record<string, Record<string, unknown>> = {
  commitlog: { retentionMs: -1, retentionBytes: 300_000, retentionCheckMs: 1 },
  "partitioned-log": { retentionMs: -1, retentionBytes: 100_000, retentionCheckMs: 1, fileDeleteDelayMs: 0 },
};

it.each(ENGINES)("%s deletes old messages and serves a consumer while several threads append", async (name) => {
  const opened = await open(name, temporaryDirectory(), KEEPS_LITTLE[name]);
  const { engine, partitions } = opened;
  const connection = await connect();
  const consumer = engine.serve!(connection.server);
  const writers = [0, 1].map((seed) => startWriter(opened, { name: `w${seed}`, seed, messageCount: 10_000 }));
  let isDone = false;
  const work = Promise.all(writers.map(({ told }) => told)).finally(() => {
    isDone = true;
  });
  const partition = partitions[0]!;
  let next = 0;
  let receivedCount = 0;
  const consume = async () => {
    while (!isDone || receivedCount === 0) {
      try {
        const outcome = await consumer.send(partition, next, 20_000);
        expect(outcome.nextOffset).toBe(next + outcome.messageCount);
        expect(await connection.receiver.take(outcome.sizeBytes)).toHaveLength(outcome.sizeBytes);
        next = outcome.nextOffset;
        receivedCount += outcome.messageCount;
      } catch (error) {
        expect(error).toBeInstanceOf(OffsetOutOfRangeError);
        next = (error as OffsetOutOfRangeError).startOffset;
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  const [tolds] = await driven(engine, Promise.all([work, consume()]));
  for (const told of tolds) expect(told.error).toBe("");
  await engine.flush();
  // On a busy machine the threads may be done before the engine has been polled often enough to delete anything.
  while (engine.partitions().some(({ startOffset }) => startOffset === 0)) {
    engine.poll();
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (const { handle, startOffset, endOffset } of engine.partitions()) {
    expect(startOffset).toBeGreaterThan(0);
    expect(await readAll(engine, handle)).toHaveLength(endOffset - startOffset);
  }
  await engine.close();
  connection.close();
});

it("partitioned-log keeps an active segment, however old, while several threads append to it", async () => {
  const old = { retentionMs: 1, retentionCheckMs: 1, segmentSizeBytes: 1 << 26 };
  const opened = await open("partitioned-log", temporaryDirectory(), old);
  const { engine } = opened;
  const writers = [0, 1].map((seed) => startWriter(opened, { name: `w${seed}`, seed, messageCount: 3_000 }));
  const tolds = await driven(engine, Promise.all(writers.map(({ told }) => told)));
  for (const told of tolds) expect(told.error).toBe("");
  await engine.flush();
  for (let i = 0; i < 2_000; i++) engine.poll();
  let found = 0;
  for (const { handle, startOffset } of engine.partitions()) {
    expect(startOffset).toBe(0);
    found += (await readAll(engine, handle)).length;
  }
  expect(found).toBe(6_000);
  await engine.close();
});
