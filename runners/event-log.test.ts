import { describe, expect, it } from "vitest";
import { EventLog } from "./event-log.js";
import type { ThreadRun } from "./kernel-counters.js";
import { SharedCells } from "./sampler-cells.js";

const MILLISECOND = 1e6;

/** A log of a thread that says how long it has waited for a processor, and how often it was asked. */
function setUp() {
  const thread = { waitedNs: 70 * MILLISECOND, asked: 0 };
  const readRun = (into: ThreadRun) => {
    thread.asked++;
    into.waitedNs = thread.waitedNs;
  };
  const log = new EventLog(0n, new SharedCells().numbers, readRun);
  const waits = () => log.events().filter(({ cause }) => cause === "processor-wait");
  return { thread, log, waits };
}

describe("what held the loop up", () => {
  it("was a wait for a processor if the thread waited for half of it", () => {
    const { thread, log, waits } = setUp();
    log.beat(0);
    thread.waitedNs += 2 * MILLISECOND;
    log.heldUp("engine-call", 10 * MILLISECOND, 14 * MILLISECOND);
    log.heldUp("event-loop", 20 * MILLISECOND, 24 * MILLISECOND);
    expect(waits()).toEqual([{ cause: "processor-wait", startNs: 10 * MILLISECOND, endNs: 14 * MILLISECOND }]);
    expect(log.events().filter(({ cause }) => cause === "engine-call")).toHaveLength(1);
    expect(log.events().filter(({ cause }) => cause === "event-loop")).toHaveLength(1);
  });

  it("is not blamed on what the thread had waited long before, nor on all of its life at first", () => {
    const { thread, log, waits } = setUp();
    log.heldUp("engine-call", 0, 4 * MILLISECOND);
    thread.waitedNs += 3 * MILLISECOND;
    log.beat(100 * MILLISECOND);
    log.heldUp("engine-call", 101 * MILLISECOND, 105 * MILLISECOND);
    expect(waits()).toEqual([]);
  });

  it("is asked about only if it took a millisecond, and otherwise 20 times a second", () => {
    const { thread, log } = setUp();
    for (let at = 0; at < 1_000; at += 5) {
      log.beat(at * MILLISECOND);
      log.heldUp("engine-call", at * MILLISECOND, (at + 0.9) * MILLISECOND);
    }
    expect(thread.asked).toBe(20);
    const unasked = new EventLog(0n, new SharedCells().numbers, null);
    unasked.beat(0);
    unasked.heldUp("engine-call", 0, 4 * MILLISECOND);
    expect(unasked.events().map(({ cause }) => cause)).toEqual(["engine-call"]);
  });
});
