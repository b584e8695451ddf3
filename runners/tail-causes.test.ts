import { describe, expect, it } from "vitest";
import { seededRandom } from "../results/random.js";
import { TAIL_CAUSES, type TailCause } from "../results/schema.js";
import { attributeTail, type CauseEvent, type SlowMessage } from "./tail-causes.js";

const MS = 1e6;
const SECOND = { startNs: 0, endNs: 1_000 * MS };
const event = (cause: TailCause, fromMs: number, toMs: number): CauseEvent => ({
  cause,
  startNs: fromMs * MS,
  endNs: toMs * MS,
});
const message = (dueMs: number, acknowledgedMs: number, sentMs = dueMs): SlowMessage => ({
  intendedNs: dueMs * MS,
  sentNs: sentMs * MS,
  acknowledgedNs: acknowledgedMs * MS,
});
function causesOf(messages: SlowMessage[], events: CauseEvent[], thresholdMs = 5) {
  const tail = { percentile: 99.9, thresholdNs: thresholdMs * MS, count: messages.length, messages };
  return attributeTail(tail, events, SECOND, TAIL_CAUSES);
}
const firstCause = (messages: SlowMessage[], events: CauseEvent[]) => causesOf(messages, events).causes[0]!.cause;

describe("a slow message is put down to", () => {
  it("an event that covers half of its latency, and to none that covers less", () => {
    expect(firstCause([message(100, 120)], [event("sync", 105, 115)])).toBe("sync");
    expect(firstCause([message(100, 120)], [event("sync", 105, 114.9)])).toBe("unexplained");
    expect(firstCause([message(100, 120)], [event("sync", 0, 110)])).toBe("sync");
    expect(firstCause([message(100, 120)], [event("sync", 0, 109.9)])).toBe("unexplained");
    expect(firstCause([message(100, 120)], [event("sync", 120, 200), event("sync", 0, 100)])).toBe("unexplained");
  });

  it("no crowd of short events, though together they cover it", () => {
    const syncs = Array.from({ length: 1_000 }, (_, i) => event("sync", i, i + 1));
    expect(firstCause([message(100, 120)], syncs)).toBe("unexplained");
    expect(firstCause([message(100, 120)], [...syncs, event("sync", 101, 119)])).toBe("sync");
  });

  it("the rarest of several that cover it: a reservation within a roll within a long call", () => {
    const nested = [
      event("engine-call", 100, 150),
      event("segment-roll", 101, 149),
      event("file-preallocate", 102, 148),
      // As much in all as the roll.
      event("engine-call", 500, 590),
    ];
    expect(firstCause([message(100, 150)], nested)).toBe("file-preallocate");
    expect(firstCause([message(520, 580)], nested)).toBe("engine-call");
  });

  it("the special one where both were as rare", () => {
    const both = [event("engine-call", 100, 150), event("sync", 100, 150)];
    expect(firstCause([message(100, 150)], both)).toBe("sync");
    expect(firstCause([message(100, 150)], both.toReversed())).toBe("sync");
  });

  it("what happens seldom rather than what is always under way", () => {
    const events = [event("sync", 0, 1_000), event("garbage-collection", 300, 330)];
    expect(firstCause([message(300, 330)], events)).toBe("garbage-collection");
    const { causes } = causesOf([message(300, 330), message(600, 620)], events);
    expect(causes).toEqual([
      { cause: "garbage-collection", count: 1, worstNs: 30 * MS, presence: 0.03 },
      { cause: "sync", count: 1, worstNs: 20 * MS, presence: 1 },
    ]);
  });

  it("the generator only if it was late by half of the latency and no event explains it", () => {
    expect(firstCause([message(100, 120, 110)], [])).toBe("generator");
    expect(firstCause([message(100, 120, 109.9)], [])).toBe("unexplained");
    expect(firstCause([message(100, 120, 118)], [event("event-loop", 100, 118)])).toBe("event-loop");
  });
});

describe("the account of a tail", () => {
  it("adds up, most frequent first, with each cause's worst", () => {
    const { causes, examinedCount, count } = causesOf(
      [message(0, 9), message(10, 30), message(200, 240), message(300, 310), message(700, 790)],
      [event("steal", 190, 320)],
    );
    expect(causes.map(({ cause, count, worstNs }) => [cause, count, worstNs / MS])).toEqual([
      ["unexplained", 3, 90],
      ["steal", 2, 40],
    ]);
    expect({ examinedCount, count }).toEqual({ examinedCount: 5, count: 5 });
  });

  it("counts presence within the measured time, overlaps once, and short events not at all", () => {
    const events = [
      event("sync", -500, 100),
      event("sync", 50, 200),
      event("sync", 900, 2_000),
      event("sync", 400, 402.4),
    ];
    const { causes } = causesOf([message(50, 60)], events);
    expect(causes[0]!.presence).toBeCloseTo(0.3, 12);
  });

  it("finds the same as a look at every event, over random ones", () => {
    const random = seededRandom(3);
    for (let round = 0; round < 200; round++) {
      const events = Array.from({ length: 30 }, () => {
        const from = 1_000 * random();
        return event(random() < 0.5 ? "sync" : "segment-roll", from, from + 60 * random());
      });
      const due = 1_000 * random();
      const slow = message(due, due + 5 + 60 * random());
      const half = (slow.acknowledgedNs - slow.intendedNs) / 2;
      const isExplained = events.some(
        ({ startNs, endNs }) =>
          Math.min(endNs, slow.acknowledgedNs) - Math.max(startNs, slow.intendedNs) >= half && endNs - startNs >= 2.5e6,
      );
      expect(firstCause([slow], events) !== "unexplained").toBe(isExplained);
    }
  });
});
