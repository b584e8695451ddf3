import fc from "fast-check";
import { expect, it } from "vitest";
import { PendingRuns } from "./pending-runs.js";

/** A step: append to a partition, or acknowledge up to a share of what is appended. */
const steps = fc.array(
  fc.oneof(
    fc.record({ partition: fc.nat(3), messageCount: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ lag: fc.nat(400) }),
  ),
  { maxLength: 400 },
);

it("acknowledges each message once, in order, when the log has got to its mark and not before", () => {
  fc.assert(
    fc.property(steps, (taken) => {
      const runs = new PendingRuns();
      const next = [0, 0, 0, 0];
      const done = [0, 0, 0, 0];
      const marks: number[][] = [[], [], [], []];
      let mark = 0;
      let reached = 0;
      const listener = {
        acknowledged: (partition: number, baseOffset: number, messageCount: number) => {
          expect(baseOffset).toBe(done[partition]);
          done[partition]! += messageCount;
          expect(marks[partition]![done[partition]! - 1]).toBeLessThanOrEqual(reached);
        },
        failed: () => expect.fail("nothing fails"),
      };
      for (const step of taken) {
        if ("lag" in step) {
          reached = Math.max(reached, mark - step.lag);
          runs.acknowledgeTo(reached, listener);
          continue;
        }
        const { partition, messageCount } = step;
        mark += messageCount * 10;
        runs.push(partition, next[partition]!, messageCount, mark);
        next[partition]! += messageCount;
        marks[partition]!.push(...new Array<number>(messageCount).fill(mark));
      }
      reached = mark;
      runs.acknowledgeTo(mark, listener);
      expect(done).toEqual(next);
      expect(runs.isEmpty).toBe(true);
    }),
  );
});

it("acknowledges what was there at the last look though appends to the same partition go on", () => {
  const runs = new PendingRuns();
  const acknowledged: number[] = [];
  const listener = {
    acknowledged: (_partition: number, _baseOffset: number, messageCount: number) => acknowledged.push(messageCount),
    failed: () => undefined,
  };
  runs.push(0, 0, 1, 100);
  runs.acknowledgeTo(50, listener);
  runs.push(0, 1, 1, 200);
  runs.acknowledgeTo(150, listener);
  expect(acknowledged).toEqual([1]);
});
