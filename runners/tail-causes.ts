import type { Tail, TailCause } from "../results/schema.js";

/** Something that was under way, on the clock of the latencies. */
export interface CauseEvent {
  readonly cause: TailCause;
  readonly startNs: number;
  readonly endNs: number;
}

/** One response time, from when the message was due to when it was acknowledged. */
export interface SlowMessage {
  readonly intendedNs: number;
  readonly sentNs: number;
  readonly acknowledgedNs: number;
}

/** What an event must cover of a latency to explain it. */
const EXPLAINING_SHARE = 0.5;

interface Suspect {
  readonly cause: TailCause;
  readonly presence: number;
  /** By start; and the latest end of each and all before it. */
  readonly events: readonly CauseEvent[];
  readonly latestEndNs: readonly number[];
}

/**
 * Puts each slow message down to one cause. Pure.
 *
 * The rule: an event explains a latency if it alone covers half of it or more. So a sync of 200 µs is no reason for a
 * latency of 20 ms, also where one is always under way; one of 18 ms is. Where events of several causes explain it (a
 * reservation within a roll within a long call), the cause with the least presence counts: presence is the share of the
 * measured time under those of its events that are half as long as the tail's threshold, and therefore how often it would
 * be met by chance. Of equal presence the one named first in the schema counts, which goes from special to general.
 * A message that no event explains, but that was sent late by half of its latency or more, was kept waiting by the
 * generator. What is left is unexplained. Overlap is not proof: the presence beside each count says how much it means.
 *
 * @param tail.messages those longer than `tail.thresholdNs`, or the longest of them
 * @param order every cause, from special to general
 */
export function attributeTail(
  tail: { percentile: number; thresholdNs: number; count: number; messages: readonly SlowMessage[] },
  events: readonly CauseEvent[],
  measured: { startNs: number; endNs: number },
  order: readonly TailCause[],
): Tail {
  const suspects = order
    .map((cause) => suspectOf(cause, events, tail.thresholdNs * EXPLAINING_SHARE, measured))
    .filter((suspect) => suspect.events.length > 0)
    // Stable: of equal presence the order stays.
    .sort((a, b) => a.presence - b.presence);
  const presences = new Map(suspects.map(({ cause, presence }) => [cause, presence]));
  const found = new Map<TailCause, { count: number; worstNs: number }>();
  for (const message of tail.messages) {
    const latencyNs = message.acknowledgedNs - message.intendedNs;
    const cause =
      suspects.find((suspect) => explains(suspect, message.intendedNs, message.acknowledgedNs))?.cause ??
      (message.sentNs - message.intendedNs >= latencyNs * EXPLAINING_SHARE ? "generator" : "unexplained");
    const entry = found.get(cause) ?? { count: 0, worstNs: 0 };
    found.set(cause, { count: entry.count + 1, worstNs: Math.max(entry.worstNs, latencyNs) });
  }
  return {
    percentile: tail.percentile,
    thresholdNs: tail.thresholdNs,
    count: tail.count,
    examinedCount: tail.messages.length,
    causes: [...found]
      .map(([cause, entry]) => ({ cause, ...entry, presence: presences.get(cause) ?? null }))
      .sort((a, b) => b.count - a.count),
  };
}

function suspectOf(
  cause: TailCause,
  events: readonly CauseEvent[],
  shortestNs: number,
  measured: { startNs: number; endNs: number },
): Suspect {
  const own = events
    .filter((event) => event.cause === cause && event.endNs - event.startNs >= shortestNs)
    .sort((a, b) => a.startNs - b.startNs);
  const latestEndNs: number[] = [];
  let coveredNs = 0;
  let coveredToNs = measured.startNs;
  for (const { startNs, endNs } of own) {
    latestEndNs.push(Math.max(endNs, latestEndNs.at(-1) ?? endNs));
    const fromNs = Math.max(startNs, coveredToNs);
    const toNs = Math.min(endNs, measured.endNs);
    coveredNs += Math.max(0, toNs - fromNs);
    coveredToNs = Math.max(coveredToNs, toNs);
  }
  const presence = Math.min(1, coveredNs / (measured.endNs - measured.startNs));
  return { cause, presence, events: own, latestEndNs };
}

/** Whether one event covers half of the time from `startNs` to `endNs`. */
function explains({ events, latestEndNs }: Suspect, startNs: number, endNs: number): boolean {
  const neededNs = (endNs - startNs) * EXPLAINING_SHARE;
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (events[middle]!.startNs < endNs) low = middle + 1;
    else high = middle;
  }
  for (let i = low - 1; i >= 0 && latestEndNs[i]! >= startNs + neededNs; i--) {
    const event = events[i]!;
    if (Math.min(event.endNs, endNs) - Math.max(event.startNs, startNs) >= neededNs) return true;
  }
  return false;
}
