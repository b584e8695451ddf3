import { afterEach, beforeEach, describe, expect, it, type TestContext, vi } from "vitest";
import { Driven, turn } from "./engine.contract-driver.js";
import { type Machine, open, SyncHoldingStorage } from "./engine.contract-machine.js";
import type { EngineDefinition, PartitionHandle, StorageEngine } from "./engine.js";
import { ClosedError, OffsetOutOfRangeError } from "./errors.js";

/** What an engine whose consumers can wait for messages does, for the conformance suite. */
export function describeWaiting(definition: EngineDefinition, machine: Machine): void {
  describe("waiting for messages", () => {
    beforeEach(() => {
      // Turns of the event loop (setImmediate) and the clocks stay real.
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
    });
    afterEach(() => {
      vi.useRealTimers();
    });

    it("answers at once where there is a message, or no time", async (context) => {
      const driven = await openWaiting(definition, machine, context);
      const [handle] = await driven.createTopic("t", 1);
      for (const timeoutMs of [0, -1, Number.NaN]) {
        expect(await driven.engine.awaitMessages!(handle!, 0, timeoutMs)).toBe(false);
      }
      await driven.appendMany(handle!, 2);
      await driven.engine.flush();
      for (const offset of [0, 1]) expect(await driven.engine.awaitMessages!(handle!, offset, 0)).toBe(true);
      expect(await driven.engine.awaitMessages!(handle!, 2, 0)).toBe(false);
      await driven.close();
    });

    it("wakes everyone who waits for a message when it can be fetched, and nobody else", async (context) => {
      const driven = await openWaiting(definition, machine, context);
      const [handle, other] = await driven.createTopic("t", 2);
      const answers = watch(driven.engine, [handle!, 0], [handle!, 0], [other!, 0]);
      driven.engine.poll();
      await turn();
      expect(answers).toEqual([null, null, null]);
      await driven.appendMany(handle!, 1);
      await driven.pollUntil("both to be woken", () => answers[0] === true && answers[1] === true);
      expect(await countAt(driven.engine, handle!, 0)).toBe(1);
      expect(answers[2]).toBe(null);
      const next = watch(driven.engine, [handle!, 1]);
      await driven.appendMany(other!, 1);
      await driven.pollUntil("the other to be woken", () => answers[2] === true);
      expect(next).toEqual([null]);
      expect(vi.getTimerCount()).toBe(1); // of those who were answered none is left
      await driven.close();
    });

    it("wakes those who wait when what was appended is flushed", async (context) => {
      const driven = await openWaiting(definition, machine, context, { batchSizeBytes: 16_384, lingerMs: 1_000_000 });
      const [handle] = await driven.createTopic("t", 1);
      await driven.appendMany(handle!, 1);
      const answers = watch(driven.engine, [handle!, 0]);
      await driven.engine.flush();
      await turn();
      expect(answers).toEqual([true]);
      await driven.close();
    });

    it("says that the time is up when it is, not before and not later", async (context) => {
      const driven = await openWaiting(definition, machine, context);
      const [handle] = await driven.createTopic("t", 1);
      const answers = watch(driven.engine, [handle!, 0, 500], [handle!, 0, 10 ** 12]);
      await vi.advanceTimersByTimeAsync(499);
      expect(answers).toEqual([null, null]);
      await vi.advanceTimersByTimeAsync(1);
      expect(answers).toEqual([false, null]);
      await driven.close();
    });

    it("looks every so often under short polling, whatever arrives in between", async (context) => {
      const settings = { polling: "short", shortPollingMs: 100 };
      const driven = await openWaiting(definition, machine, context, settings);
      const [handle] = await driven.createTopic("t", 1);
      const answers = watch(driven.engine, [handle!, 0], [handle!, 0, 150]);
      await vi.advanceTimersByTimeAsync(110);
      await driven.appendMany(handle!, 1);
      await driven.engine.flush();
      await turn();
      expect(answers).toEqual([null, null]);
      await vi.advanceTimersByTimeAsync(40); // the second one's time is up, and then it looks as well
      expect(answers).toEqual([null, true]);
      await vi.advanceTimersByTimeAsync(49);
      expect(answers).toEqual([null, true]);
      await vi.advanceTimersByTimeAsync(1);
      expect(answers).toEqual([true, true]);
      await driven.close();
    });

    it("wakes nobody for what the flush policy hides", async (context) => {
      const held = new SyncHoldingStorage(machine.storage);
      const { directory } = machine;
      const driven = await Driven.open(definition, { directory, storage: held.storage, settings: { flush: "sync" } });
      skipUnlessWaiting(driven, context);
      const [handle] = await driven.createTopic("t", 1);
      held.isHolding = true;
      const answers = watch(driven.engine, [handle!, 0]);
      await driven.appendMany(handle!, 1);
      for (let i = 0; i < 50; i++) {
        driven.engine.poll();
        await turn();
      }
      expect(answers).toEqual([(await countAt(driven.engine, handle!, 0)) > 0 ? true : null]);
      held.release();
      await driven.pollUntil("the message to be visible", () => answers[0] === true);
      expect(await countAt(driven.engine, handle!, 0)).toBe(1);
      await driven.close();
    });

    it("refuses offsets that are not there", async (context) => {
      const driven = await openWaiting(definition, machine, context);
      const [handle] = await driven.createTopic("t", 1);
      for (const offset of [-1, 1, Number.NaN]) {
        await expect(driven.engine.awaitMessages!(handle!, offset, 10)).rejects.toThrow(OffsetOutOfRangeError);
      }
      await driven.close();
    });

    it("answers everyone when it is closed, and lets nobody wait afterwards", async (context) => {
      const driven = await openWaiting(definition, machine, context);
      const [handle, other] = await driven.createTopic("t", 2);
      await driven.appendMany(other!, 3);
      await driven.engine.flush();
      const answers = watch(driven.engine, [handle!, 0], [other!, 3]);
      await driven.close();
      expect(answers).toEqual([false, false]);
      expect(vi.getTimerCount()).toBe(0);
      await expect(driven.engine.awaitMessages!(handle!, 0, 10)).rejects.toThrow(ClosedError);
    });
  });
}

async function openWaiting(
  definition: EngineDefinition,
  machine: Machine,
  context: TestContext,
  settings: Record<string, unknown> = {},
): Promise<Driven> {
  // One that cannot wait does not know the settings of waiting either.
  const driven = await open(definition, machine, "polling" in settings ? {} : settings);
  skipUnlessWaiting(driven, context);
  if (!("polling" in settings)) return driven;
  await driven.close();
  return open(definition, machine, settings);
}

function skipUnlessWaiting(driven: Driven, context: TestContext): void {
  if (driven.engine.awaitMessages !== undefined) return;
  void driven.close();
  context.skip("its consumers cannot wait");
}

/** Waits for each (partition, offset, ms); an answer is null until it has come. */
function watch(engine: StorageEngine, ...waits: [PartitionHandle, number, number?][]): (boolean | null)[] {
  const answers: (boolean | null)[] = waits.map(() => null);
  for (const [i, [partition, offset, timeoutMs]] of waits.entries()) {
    void engine.awaitMessages!(partition, offset, timeoutMs ?? 1_000_000).then((answer) => {
      answers[i] = answer;
    });
  }
  return answers;
}

async function countAt(engine: StorageEngine, partition: PartitionHandle, offset: number): Promise<number> {
  return (await engine.fetch(partition, offset, 1, () => {})).messageCount;
}
