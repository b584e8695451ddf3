import { describe, expect, it } from "vitest";
import type { Message, MessageVisitor, StorageEngine } from "../engines/engine.js";
import { messagesSchema, type Verification } from "../results/schema.js";
import { createMessageStream } from "./message-stream.js";
import { createPayloadPool } from "./payload-pool.js";
import { verify } from "./verification.js";

const shape = messagesSchema.parse({ sizeBytes: 16, compressibleFraction: 0 });
const values = createPayloadPool(shape, 1);
const PARTITIONS = 2;
const COUNT = 40;
const newStream = () =>
  createMessageStream({ values, messages: shape, partitionCount: PARTITIONS, producerCount: 1, seed: 5 });

/** Serves each partition from its start on; `change` gives other messages than were sent, or none. */
class FakeEngine {
  readonly #stored: (Message | null)[][] = Array.from({ length: PARTITIONS }, () => []);

  constructor(
    readonly starts: readonly number[],
    change: (message: Message, place: number, offset: number) => Message | null = (message) => message,
  ) {
    const stream = newStream();
    for (let sent = 0; sent < PARTITIONS * COUNT; sent++) {
      stream.choose(0);
      const stored = this.#stored[stream.place]!;
      stored.push(change(stream.messages[stream.index]!, stream.place, stored.length));
      stream.taken(0);
    }
  }

  partitionInfo(handle: number) {
    return { handle, topic: "t", index: handle, startOffset: this.starts[handle]!, endOffset: COUNT };
  }

  async fetch(handle: number, fromOffset: number, _maxBytes: number, visit: MessageVisitor): Promise<void> {
    if (fromOffset < this.starts[handle]!) throw new Error("below the start");
    for (let offset = fromOffset; offset < COUNT; offset++) {
      const message = this.#stored[handle]![offset]!;
      if (message !== null)
        visit({ offset, timestampMs: 0, key: message.key, value: message.value, headers: [] } as never);
    }
  }
}

function check(engine: FakeEngine, keptCount: number | null): Promise<Verification> {
  const partitions = [0, 1].map((handle) => ({ handle, name: `t/${handle}`, count: COUNT }));
  return verify(engine as unknown as StorageEngine, { partitions, stream: newStream(), keptCount }, () => 0);
}

describe("verify", () => {
  it("takes no deleted beginning where nothing is to be deleted", async () => {
    expect(await check(new FakeEngine([0, 0]), null)).toMatchObject({ outcome: "passed", readMessages: 2 * COUNT });
    const { outcome, problems } = await check(new FakeEngine([0, 7]), null);
    expect([outcome, problems[0]]).toEqual(["failed", "Partition t/1 begins at offset 7."]);
  });

  it("counts what retention deleted, and reads every byte of the rest", async () => {
    expect(await check(new FakeEngine([12, 7]), 60)).toEqual({
      outcome: "passed",
      expectedMessages: 80,
      readMessages: 61,
      checkedBytes: 61 * 16,
      deletedMessages: 19,
      durationNs: 0,
      problems: [],
    });
    const spoiled = new FakeEngine([12, 7], (message, place, offset) =>
      place === 1 && offset === 20 ? ({ key: null, value: new Uint8Array(16) } as Message) : message,
    );
    expect((await check(spoiled, 60)).problems).toEqual([
      "Partition t/1 holds other bytes at offset 20 than were sent.",
    ]);
  });

  it("misses what is gone behind the start, or was deleted although retention leaves it", async () => {
    const holed = new FakeEngine([12, 7], (message, place, offset) => (place === 0 && offset === 30 ? null : message));
    expect((await check(holed, 60)).problems).toEqual(["Partition t/0 yields offset 31 where 30 is next."]);
    expect(await check(new FakeEngine([12, 8]), 61)).toMatchObject({
      outcome: "failed",
      problems: ["Retention deleted 20 of 80 messages and left 60, but had to leave 61."],
    });
    // Less was written than retention leaves.
    expect(await check(new FakeEngine([0, 0]), 1_000)).toMatchObject({ outcome: "passed", deletedMessages: 0 });
  });
});
