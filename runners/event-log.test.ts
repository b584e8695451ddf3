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
  const ms = (value: number) => value * MILLISECOND;

  it("was a wait for a processor if the thread waited for half of it", () => {
    const { thread, log, waits } = setUp();
    log.beat(0);
    log.heldUp("engine-call", ms(10), ms(14));
    thread.waitedNs += ms(2);
    log.beat(ms(50));
    log.heldUp("event-loop", ms(60), ms(64));
    thread.waitedNs += ms(1.9);
    log.beat(ms(100));
    expect(waits()).toEqual([{ cause: "processor-wait", startNs: ms(10), endNs: ms(14) }]);
    expect(log.events().filter(({ cause }) => cause === "engine-call")).toHaveLength(1);
    expect(log.events().filter(({ cause }) => cause === "event-loop")).toHaveLength(1);
  });

  it("counts together with all since the kernel was asked last", () => {
    const { thread, log, waits } = setUp();
    log.beat(0);
    for (const at of [10, 20, 30]) log.heldUp("engine-call", ms(at), ms(at + 2));
    thread.waitedNs += ms(3);
    log.beat(ms(50));
    expect(waits().map(({ startNs }) => startNs)).toEqual([ms(10), ms(20), ms(30)]);
  });

  it("is not blamed on what the thread had waited before, nor on all of its life at first", () => {
    const { thread, log, waits } = setUp();
    log.heldUp("engine-call", 0, ms(4));
    log.beat(ms(5));
    thread.waitedNs += ms(3);
    log.beat(ms(300));
    log.heldUp("engine-call", ms(301), ms(305));
    log.beat(ms(400));
    expect(waits()).toEqual([]);
  });

  it("is asked about 20 times a second at most, 4 times if it never took a millisecond, and by nobody if nobody tells", () => {
    const { thread, log } = setUp();
    const second = (from: number, heldUpMs: number) => {
      for (let at = from; at < from + 1_000; at += 5) {
        log.beat(ms(at));
        log.heldUp("engine-call", ms(at), ms(at + heldUpMs));
      }
    };
    second(0, 0.9);
    expect(thread.asked).toBe(4);
    second(1_000, 2);
    expect(thread.asked).toBe(24);
    const unasked = new EventLog(0n, new SharedCells().numbers, null);
    unasked.heldUp("engine-call", 0, ms(4));
    unasked.beat(ms(100));
    expect(unasked.events().map(({ cause }) => cause)).toEqual(["engine-call"]);
  });
});
