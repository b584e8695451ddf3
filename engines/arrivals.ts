import { z } from "zod";
import type { PartitionHandle } from "./engine.js";

/** What a timer of Node can wait at most: a larger one would end at once. */
const LONGEST_TIMER_MS = 0x7fff_ffff;

/** For the schemas of engines: how consumers learn of new messages. */
export const pollingSettings = {
  polling: z.enum(["long", "short"]).default("long"),
  shortPollingMs: z.int().positive().max(LONGEST_TIMER_MS).default(1_000),
};

/** An order to tell of a message, and what ends it. */
interface Waiter {
  readonly offset: number;
  answer(hasArrived: boolean): void;
}

/**
 * Consumers that wait for messages that are not there yet: Kafka's purgatory of delayed fetches, RocketMQ's
 * PullRequestHoldService.
 *
 *   long   woken by the message: the engine says when one has become visible (RocketMQ, longPollingEnable = true; Kafka)
 *   short  looks for it by the clock, so it learns of it up to `shortPollingMs` late (RocketMQ, longPollingEnable = false)
 *
 * An engine asks `isAwaited` before it says anything, so messages that nobody waits for cost one comparison.
 */
export class Arrivals {
  /** Somebody waits to be told. */
  isAwaited = false;
  readonly #isLong: boolean;
  readonly #shortPollingMs: number;
  readonly #visibleEndOf: (partition: PartitionHandle) => number;
  readonly #waiters = new Map<PartitionHandle, Set<Waiter>>();

  /** @param visibleEndOf offset behind the last message of a partition that can be fetched now */
  constructor(
    settings: { readonly polling: "long" | "short"; readonly shortPollingMs: number },
    visibleEndOf: (partition: PartitionHandle) => number,
  ) {
    this.#isLong = settings.polling === "long";
    this.#shortPollingMs = settings.shortPollingMs;
    this.#visibleEndOf = visibleEndOf;
  }

  /**
   * @param timeoutMs longer than 24.8 days counts as that; NaN and less than 1 as not at all
   * @returns whether a message at `offset` can be fetched, as soon as that is so, or when the time is up
   */
  wait(partition: PartitionHandle, offset: number, timeoutMs: number): Promise<boolean> {
    if (offset < this.#visibleEndOf(partition)) return Promise.resolve(true);
    if (!(timeoutMs >= 1)) return Promise.resolve(false);
    return new Promise((resolve) => {
      const timers: NodeJS.Timeout[] = [];
      const waiter: Waiter = {
        offset,
        answer: (hasArrived) => {
          for (const timer of timers) clearTimeout(timer);
          this.#remove(partition, waiter);
          resolve(hasArrived);
        },
      };
      const look = (isLast: boolean) => {
        const hasArrived = offset < this.#visibleEndOf(partition);
        if (hasArrived || isLast) waiter.answer(hasArrived);
      };
      timers.push(setTimeout(() => look(true), Math.min(timeoutMs, LONGEST_TIMER_MS)));
      if (!this.#isLong) timers.push(setInterval(() => look(false), this.#shortPollingMs));
      this.#add(partition, waiter);
    });
  }

  /** Messages of `partition` have become visible. */
  arrived(partition: PartitionHandle): void {
    const waiters = this.#waiters.get(partition);
    if (waiters === undefined || !this.#isLong) return;
    const visibleEnd = this.#visibleEndOf(partition);
    for (const waiter of waiters) if (waiter.offset < visibleEnd) waiter.answer(true);
  }

  /** Messages of any partitions have become visible. */
  arrivedSomewhere(): void {
    for (const partition of this.#waiters.keys()) this.arrived(partition);
  }

  /** Answers all who wait: nothing will come. */
  close(): void {
    for (const waiters of this.#waiters.values()) for (const waiter of waiters) waiter.answer(false);
  }

  #add(partition: PartitionHandle, waiter: Waiter): void {
    const waiters = this.#waiters.get(partition);
    if (waiters === undefined) this.#waiters.set(partition, new Set([waiter]));
    else waiters.add(waiter);
    this.isAwaited = this.#isLong;
  }

  #remove(partition: PartitionHandle, waiter: Waiter): void {
    const waiters = this.#waiters.get(partition)!;
    waiters.delete(waiter);
    if (waiters.size === 0) this.#waiters.delete(partition);
    this.isAwaited &&= this.#waiters.size > 0;
  }
}
