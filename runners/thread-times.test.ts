import { expect, it } from "vitest";
import { groupOf, ThreadClock } from "./thread-times.js";

it("tells threads by their names where Node gives them any", () => {
  expect(groupOf(0, "node\n", 4)).toBe("mainNs");
  expect(groupOf(9, "libuv-worker\n", 4)).toBe("poolNs");
  expect(groupOf(9, "V8Worker\n", 4)).toBe("v8Ns");
  expect(groupOf(1, "DelayedTaskSche\n", 4)).toBe("v8Ns");
  expect(groupOf(3, "koffi\n", 4)).toBe("otherNs");
});

it("tells them by their order where it does not: V8's, the signal thread, the pool, what comes later", () => {
  const groups = [1, 6, 7, 22, 23].map((place) => groupOf(place, "node\n", 16));
  expect(groups).toEqual(["v8Ns", "v8Ns", "poolNs", "poolNs", "otherNs"]);
});

it.runIf(process.platform === "linux")("counts a thread's time, and only where it was spent", () => {
  const threads = new ThreadClock(null, 4);
  const before = threads.read()!;
  for (const untilMs = performance.now() + 30; performance.now() < untilMs; );
  const after = threads.read()!;
  const all = (times: typeof before) => Object.values(times).reduce((sum, ns) => sum + ns, 0);
  expect(all(after) - all(before)).toBeGreaterThan(0);
  expect(after.samplerNs).toBe(0);
});
