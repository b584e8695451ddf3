import { describe, expect, it } from "vitest";
import { turn } from "./engine.contract-driver.js";
import { type Machine, open } from "./engine.contract-machine.js";
import type { EngineDefinition } from "./engine.js";
import { OffsetOutOfRangeError } from "./errors.js";

/** What an engine that deletes old messages does, for the conformance suite. */
export function describeRetention(
  definition: EngineDefinition,
  machine: Machine,
  settings: Readonly<Record<string, unknown>>,
): void {
  describe("retention", () => {
    it("deletes the oldest messages beside appends, which lose nothing, and refuses to read them", async () => {
      const driven = await open(definition, machine, settings);
      const [handle] = await driven.createTopic("t", 1);
      const start = () => driven.engine.partitionInfo(handle!).startOffset;
      let lastStart = 0;
      for (let round = 0; round < 60; round++) {
        await driven.appendMany(handle!, 10);
        driven.engine.poll();
        await turn();
        expect(start()).toBeGreaterThanOrEqual(lastStart);
        lastStart = start();
      }
      await driven.engine.flush();
      await driven.pollUntil("the start offset to move", () => start() > 0);
      expect(driven.engine.partitionInfo(handle!).endOffset).toBe(600);
      await expect(driven.engine.fetch(handle!, start() - 1, 1_000, () => {})).rejects.toThrow(OffsetOutOfRangeError);
      expect(await driven.differences()).toEqual([]);
      expect([...driven.progress.values()].every((each) => each.acknowledgedTo === each.appendedTo)).toBe(true);
      await driven.close();
      expect(driven.faults).toEqual([]);
    });

    it("deletes files, never the one that is written to, and keeps its start when it is opened again", async () => {
      const driven = await open(definition, machine, settings);
      const [handle] = await driven.createTopic("t", 1);
      await driven.appendMany(handle!, 600);
      await driven.engine.flush();
      const { filesDeleted } = driven.engine.counters();
      await driven.pollUntil("files to be deleted", () => driven.engine.counters().filesDeleted > filesDeleted);
      const { startOffset } = driven.engine.partitionInfo(handle!);
      expect(startOffset).toBeGreaterThan(0);
      expect(startOffset).toBeLessThan(600);
      await driven.close();
      const again = await open(definition, machine, settings);
      expect(again.engine.recovery).toMatchObject({ wasCleanShutdown: true, truncatedBytes: 0, repairs: [] });
      const [same] = await again.createTopic("t", 1);
      expect(again.engine.partitionInfo(same!).startOffset).toBeGreaterThanOrEqual(startOffset);
      await again.appendMany(same!, 50);
      await again.engine.flush();
      expect(await again.differences()).toEqual([]);
      await again.close();
    });
  });
}
