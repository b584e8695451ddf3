import { expect, it } from "vitest";
import { seededRandom } from "../results/random.js";
import { BacklogTrace } from "./backlog.js";
import { createSchedule, type Schedule } from "./schedule.js";

const schedule = (seed: number): Schedule =>
  createSchedule({ startNs: 1_000, ratePerSecond: 1e6, arrivals: "poisson", producerCount: 1, seed });

/** All due times before `endNs`. */
function dueTimes(seed: number, endNs: number): number[] {
  const times: number[] = [];
  for (const one = schedule(seed); one.dueNs < endNs; one.advance()) times.push(one.dueNs);
  return times;
}

it("is, at the moments noted, what a plain count of due and sent messages finds", () => {
  const random = seededRandom(7);
  for (let seed = 0; seed < 20; seed++) {
    const endNs = 1_000 + 100_000 * (1 + random());
    const due = dueTimes(seed, endNs);
    const trace = new BacklogTrace(1_000, endNs, 40);
    const notes: { atNs: number; sent: number }[] = [];
    let sent = 0;
    for (let atNs = 2_000; atNs < 2 * endNs; atNs += 1_000 + 20_000 * random()) {
      const dueNow = due.filter((dueNs) => dueNs <= atNs).length;
      sent = Math.max(sent, Math.floor(dueNow * random()));
      notes.push({ atNs, sent });
      trace.note(atNs, 40 + sent);
    }
    const found = trace.at([500, ...notes.map(({ atNs }) => atNs)], schedule(seed));
    const expected = notes.map(({ atNs, sent }) => due.filter((dueNs) => dueNs <= atNs).length - sent);
    expect(found).toEqual([null, ...expected]);
  }
});

it("grows while nothing is sent, and does not begin anew after the end", () => {
  const endNs = 1_000 + 100_000;
  const trace = new BacklogTrace(1_000, endNs, 0);
  trace.note(90_000, 0);
  const total = dueTimes(3, endNs).length;
  const [early, late, after, muchLater] = trace.at([40_000, 80_000, endNs, 10 * endNs], schedule(3));
  expect(early).toBeGreaterThan(0);
  expect(late).toBeGreaterThan(early!);
  expect([after, muchLater]).toEqual([total, total]);
});
