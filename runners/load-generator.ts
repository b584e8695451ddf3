import type { EngineListener, PartitionHandle, StorageEngine } from "../engines/engine.js";
import type { EncodedHistogram, Load } from "../results/schema.js";
import type { Clock } from "./clock.js";
import { LatencyRecorder } from "./latency-recorder.js";
import type { MessageStream } from "./message-stream.js";
import { createSchedule, type Schedule } from "./schedule.js";
import { SteadyState } from "./steady-state.js";

/** The engine broke the contract: it acknowledged what was never sent, or failed messages. */
export class EngineFaultError extends Error {
  override name = "EngineFaultError";
}

/** An open load could not be kept up with. */
export class RateNotMetError extends Error {
  override name = "RateNotMetError";
}

export interface WarmupLimits {
  readonly minimumNs: number;
  readonly maximumNs: number;
  readonly maximumMessages: number;
  /** Length of an interval of the steady-state test, and how many it looks back over. */
  readonly binNs: number;
  readonly windowBins: number;
}

export interface MeasureLimits {
  readonly durationNs: number;
  /** Ends a closed loop earlier, so that a fast engine does not fill the disk. */
  readonly maximumMessages: number;
}

export interface MeasuredLoad {
  readonly startedNs: number;
  /** From the first send to the end of the interval. */
  readonly durationNs: number;
  readonly sentCount: number;
  /** Acknowledged within the interval. */
  readonly acknowledgedCount: number;
  /** Due within the interval and not yet sent at its end; null in a closed loop. */
  readonly backlogAtEnd: number | null;
}

export interface RecordedLatencies {
  readonly responseTime: EncodedHistogram;
  readonly serviceTime: EncodedHistogram;
  readonly scheduleLag: EncodedHistogram | null;
}

/** The loop gives the event loop a turn at least this often: timers, and completions of asynchronous syncs. */
const YIELD_AFTER_NS = 1_000_000;
/** After its end an open load may still send what was due, for at most this long. */
const CATCH_UP_NS = 2_000_000_000;
/** How long outstanding messages may take to be acknowledged before the final flush forces them. */
const DRAIN_NS = 1_000_000_000;
/** A rate counts as met with a backlog of up to 1 % of what was due, or of 50 ms' worth: a pause, not a trend. */
const BACKLOG_FRACTION = 0.01;
const BACKLOG_NS = 50_000_000;
const NONE = -1;
/**
 * Rounds of the pause between two looks at the clock while nothing is due: about half a microsecond. Engine and clock,
 * asked without a pause, make garbage ten million times a second, and the collector's stops are what a schedule lags by.
 */
const PAUSE_ROUNDS = 256;
const PAUSE_CELL = new Int32Array(1);

/**
 * Sends messages to one engine from one thread and records every latency. What goes where, its stream says. Producers take
 * turns; each may have its share of the messages in flight, and one that has them all waits while the others go on.
 *
 * - Closed loop: appends until `inFlight` messages are unacknowledged, or sent since, then polls: the ceiling, no more.
 * - Open loop: appends each message when its schedule says so, however slow the engine is; latency counts from then.
 *
 * Send times wait in a pool of `inFlight` slots, chained per partition in sending order, because acknowledgements are
 * cumulative per partition: memory is bounded by what is in flight, and a message allocates nothing. A slot's life:
 * free → last of its partition (append) → first of its partition → free (acknowledged).
 */
export class LoadGenerator implements EngineListener {
  readonly #clock: Clock;
  readonly #epochNs: number;
  readonly #load: Load;
  readonly #seed: number;
  readonly #stream: MessageStream;
  readonly #progress: Float64Array;
  readonly #storageCounters: { readonly syncCalls: number };

  #engine!: StorageEngine;
  #handles!: readonly PartitionHandle[];
  /** All below: index = partition handle. */
  #head!: Int32Array;
  #tail!: Int32Array;
  #acknowledgedOf!: Float64Array;

  /** All below: index = slot. */
  readonly #next: Int32Array;
  readonly #sentNs: Float64Array;
  readonly #intendedNs: Float64Array;
  readonly #syncsAtSend: Float64Array;
  readonly #producerOf: Uint32Array;
  #freeSlot = 0;

  /** Whose turn it is, how many messages each may have in flight, and has. */
  #producer = 0;
  readonly #producerLimit: number;
  readonly #outstandingOf: Uint32Array;
  #outstandingCount = 0;
  #sentCount = 0;
  /** Of a closed loop: how many had been sent at the last poll. */
  #polledAtCount = 0;
  #acknowledgedCount = 0;
  #unsyncedCount = 0;
  #fault: Error | null = null;

  /** Null outside of the measured interval's messages: they all are recorded, and no others. */
  #recorders: { response: LatencyRecorder; service: LatencyRecorder; lag: LatencyRecorder } | null = null;
  #latencies: RecordedLatencies | null = null;

  constructor(options: {
    clock: Clock;
    /** Wall-clock time of the clock's zero, for message timestamps. */
    epochMs: number;
    load: Load;
    seed: number;
    stream: MessageStream;
    /** Cell 0 is kept at the count of acknowledged messages, for the sampler. */
    progress: Float64Array;
    /** Of the storage that the engine was given: its `syncCalls` rises when a sync begins. */
    storageCounters: { readonly syncCalls: number };
  }) {
    const { inFlight, producers } = options.load;
    this.#clock = options.clock;
    this.#epochNs = options.epochMs * 1e6;
    this.#load = options.load;
    this.#seed = options.seed;
    this.#stream = options.stream;
    this.#progress = options.progress;
    this.#storageCounters = options.storageCounters;
    this.#next = Int32Array.from({ length: inFlight }, (_, slot) => (slot + 1 < inFlight ? slot + 1 : NONE));
    this.#sentNs = new Float64Array(inFlight);
    this.#intendedNs = new Float64Array(inFlight);
    this.#syncsAtSend = new Float64Array(inFlight);
    this.#producerOf = new Uint32Array(inFlight);
    this.#producerLimit = Math.floor(inFlight / producers);
    this.#outstandingOf = new Uint32Array(producers);
  }

  /** `handles`: the partitions in the order of creation, all of them empty. */
  attach(engine: StorageEngine, handles: readonly PartitionHandle[]): void {
    const handleLimit = Math.max(...handles) + 1;
    this.#engine = engine;
    this.#handles = handles;
    this.#head = new Int32Array(handleLimit).fill(NONE);
    this.#tail = new Int32Array(handleLimit).fill(NONE);
    this.#acknowledgedOf = new Float64Array(handleLimit);
  }

  /** Acknowledged since `attach`, in the order of the handles. */
  acknowledgedByPartition(): number[] {
    return this.#handles.map((handle) => this.#acknowledgedOf[handle]!);
  }

  /** Acknowledgements that came although no sync had begun since their message was appended. */
  get unsyncedCount(): number {
    return this.#unsyncedCount;
  }

  get latencies(): RecordedLatencies | null {
    return this.#latencies;
  }

  /**
   * Loads the engine until its throughput is steady, or a limit is reached, and flushes it, so that what the measured
   * interval leaves to be flushed is its own.
   * @throws EngineFaultError, and what the engine throws
   */
  async warmUp(limits: WarmupLimits): Promise<{ steady: boolean; durationNs: number }> {
    const startedNs = this.#clock.nowNs();
    const steadyState = new SteadyState(limits.windowBins);
    let steady = false;
    let binStartedNs = startedNs;
    let binStartedCount = this.#acknowledgedCount;
    await this.#drive({
      startNs: startedNs,
      endNs: startedNs + limits.maximumNs,
      maximumMessages: limits.maximumMessages,
      isOver: (nowNs) => {
        if (nowNs - binStartedNs < limits.binNs) return false;
        steady = steadyState.add((this.#acknowledgedCount - binStartedCount) / (nowNs - binStartedNs));
        binStartedNs = nowNs;
        binStartedCount = this.#acknowledgedCount;
        return steady && nowNs - startedNs >= limits.minimumNs;
      },
    });
    const durationNs = this.#clock.nowNs() - startedNs;
    await this.#drain();
    await this.flush();
    return { steady, durationNs };
  }

  /**
   * Loads the engine for the given time and records the latency of every message sent in it, also of those whose
   * acknowledgement comes after its end.
   * @throws RateNotMetError, EngineFaultError, and what the engine throws
   */
  async measure(limits: MeasureLimits): Promise<MeasuredLoad> {
    const startedNs = this.#clock.nowNs();
    const endNs = startedNs + limits.durationNs;
    const sentBefore = this.#sentCount;
    const acknowledgedBefore = this.#acknowledgedCount;
    this.#recorders = { response: new LatencyRecorder(), service: new LatencyRecorder(), lag: new LatencyRecorder() };
    const schedule = await this.#drive({
      startNs: startedNs,
      endNs,
      maximumMessages: limits.maximumMessages,
      isOver: () => false,
    });
    const endedNs = this.#clock.nowNs();
    const sentCount = this.#sentCount - sentBefore;
    const acknowledgedCount = this.#acknowledgedCount - acknowledgedBefore;
    const backlogAtEnd = schedule === null ? null : await this.#catchUp(schedule, endNs);
    this.#requireRateMet(sentCount, backlogAtEnd ?? 0);
    await this.#drain();
    return { startedNs, durationNs: endedNs - startedNs, sentCount, acknowledgedCount, backlogAtEnd };
  }

  /** Flushes the engine, after which everything sent must be acknowledged. @throws EngineFaultError */
  async flush(): Promise<void> {
    await this.#engine.flush();
    if (this.#fault !== null) throw this.#fault;
    if (this.#outstandingCount > 0) {
      throw new EngineFaultError(`flush() resolved with ${this.#outstandingCount} messages unacknowledged.`);
    }
    this.#finishRecording();
  }

  acknowledged(partition: PartitionHandle, baseOffset: number, messageCount: number): void {
    const nowNs = this.#clock.nowNs();
    if (baseOffset !== this.#acknowledgedOf[partition]) {
      const expected = this.#acknowledgedOf[partition];
      this.#fault ??= new EngineFaultError(
        expected === undefined
          ? `The engine acknowledged messages of partition handle ${partition}, which it never gave out.`
          : `The engine acknowledged offset ${baseOffset} of partition handle ${partition} where ${expected} was next.`,
      );
      return;
    }
    const syncs = this.#storageCounters.syncCalls;
    const recorders = this.#recorders;
    const isOpen = this.#load.model === "open";
    let slot = this.#head[partition]!;
    for (let i = 0; i < messageCount; i++) {
      if (slot === NONE) {
        this.#fault ??= new EngineFaultError(
          `The engine acknowledged more messages of partition handle ${partition} than were appended.`,
        );
        return;
      }
      if (recorders !== null) {
        recorders.service.record(nowNs - this.#sentNs[slot]!);
        if (isOpen) recorders.response.record(nowNs - this.#intendedNs[slot]!);
      }
      if (this.#syncsAtSend[slot]! === syncs) this.#unsyncedCount++;
      this.#outstandingOf[this.#producerOf[slot]!]!--;
      const following = this.#next[slot]!;
      this.#next[slot] = this.#freeSlot;
      this.#freeSlot = slot;
      slot = following;
    }
    this.#head[partition] = slot;
    if (slot === NONE) this.#tail[partition] = NONE;
    this.#acknowledgedOf[partition]! += messageCount;
    this.#outstandingCount -= messageCount;
    this.#acknowledgedCount += messageCount;
    this.#progress[0] = this.#acknowledgedCount;
  }

  failed(partition: PartitionHandle, messageCount: number, error: Error): void {
    this.#fault ??= new EngineFaultError(
      `${messageCount} messages of partition handle ${partition} failed: ${error.message}`,
      { cause: error },
    );
  }

  /** Runs bursts with a turn of the event loop between them. @returns the schedule of an open load, as far as it came */
  #drive(rule: {
    startNs: number;
    endNs: number;
    maximumMessages: number;
    isOver: (nowNs: number) => boolean;
  }): Promise<Schedule | null> {
    const load = this.#load;
    const sentLimit = this.#sentCount + rule.maximumMessages;
    const schedule =
      load.model === "open"
        ? createSchedule({
            startNs: rule.startNs,
            ratePerSecond: load.ratePerSecond,
            arrivals: load.arrivals,
            producerCount: load.producers,
            seed: this.#seed,
          })
        : null;
    return new Promise((resolve, reject) => {
      const turn = () => {
        try {
          if (schedule === null) this.#closedBurst(rule.endNs, sentLimit);
          else this.#openBurst(schedule, rule.endNs);
          if (this.#fault !== null) throw this.#fault;
          const nowNs = this.#clock.nowNs();
          const isFull = schedule === null && this.#sentCount >= sentLimit;
          if (nowNs >= rule.endNs || isFull || rule.isOver(nowNs)) resolve(schedule);
          else setImmediate(turn);
        } catch (error) {
          reject(error);
        }
      };
      turn();
    });
  }

  /**
   * Sends a window's worth, polls, and so on, until only the event loop can bring acknowledgements or has waited too long.
   * What an engine acknowledges within append leaves the window empty, so what was sent since the last poll counts too.
   */
  #closedBurst(endNs: number, sentLimit: number): void {
    let nowNs = this.#clock.nowNs();
    const untilNs = Math.min(nowNs + YIELD_AFTER_NS, endNs);
    const { inFlight } = this.#load;
    while (nowNs < untilNs && this.#fault === null) {
      let wasTaken = true;
      while (
        this.#hasRoom() &&
        this.#sentCount < this.#polledAtCount + inFlight &&
        this.#sentCount < sentLimit &&
        wasTaken
      ) {
        nowNs = this.#clock.nowNs();
        // The window stays open over the pause, so that batches fill the same however often the loop pauses.
        if (nowNs >= untilNs) return;
        wasTaken = this.#send(nowNs, nowNs);
      }
      const acknowledgedBefore = this.#acknowledgedCount;
      this.#polledAtCount = this.#sentCount;
      this.#engine.poll();
      const isStuck = this.#acknowledgedCount === acknowledgedBefore && this.#outstandingCount > 0;
      if (isStuck || this.#sentCount >= sentLimit) return;
      nowNs = this.#clock.nowNs();
    }
  }

  /** Sends what is due, polls, and so on, until only the event loop can bring acknowledgements or has waited too long. */
  #openBurst(schedule: Schedule, endNs: number): void {
    let nowNs = this.#clock.nowNs();
    const untilNs = nowNs + YIELD_AFTER_NS;
    while (nowNs < untilNs && this.#fault === null) {
      while (schedule.dueNs <= nowNs && schedule.dueNs < endNs && nowNs < untilNs) {
        if (!this.#hasRoom() || !this.#send(schedule.dueNs, nowNs)) break;
        schedule.advance();
        nowNs = this.#clock.nowNs();
      }
      this.#engine.poll();
      if (this.#outstandingCount > 0 || schedule.dueNs >= endNs) return;
      pause();
      nowNs = this.#clock.nowNs();
    }
  }

  /** Gives the turn to the next producer that may send. @returns false when none may */
  #hasRoom(): boolean {
    const producers = this.#outstandingOf.length;
    for (let tries = 0; tries < producers; tries++) {
      if (this.#outstandingOf[this.#producer]! < this.#producerLimit) return true;
      this.#producer = this.#producer + 1 === producers ? 0 : this.#producer + 1;
    }
    return false;
  }

  /** @returns false when the engine's buffer is full and nothing was sent */
  #send(intendedNs: number, nowNs: number): boolean {
    const stream = this.#stream;
    const producer = this.#producer;
    stream.choose(producer);
    const handle = this.#handles[stream.place]!;
    const slot = this.#freeSlot;
    const last = this.#tail[handle]!;
    this.#freeSlot = this.#next[slot]!;
    this.#next[slot] = NONE;
    this.#sentNs[slot] = nowNs;
    this.#intendedNs[slot] = intendedNs;
    this.#syncsAtSend[slot] = this.#storageCounters.syncCalls;
    this.#producerOf[slot] = producer;
    this.#outstandingOf[producer]!++;
    this.#tail[handle] = slot;
    if (last === NONE) this.#head[handle] = slot;
    else this.#next[last] = slot;
    this.#outstandingCount++;
    // Within append the engine may acknowledge this message and any before it.
    if (!this.#engine.append(handle, stream.messages[stream.index]!, Math.floor((this.#epochNs + nowNs) / 1e6))) {
      this.#takeBack(handle, slot, last);
      return false;
    }
    this.#sentCount++;
    stream.taken(producer);
    this.#producer = producer + 1 === this.#outstandingOf.length ? 0 : producer + 1;
    if (this.#recorders !== null && this.#load.model === "open") this.#recorders.lag.record(nowNs - intendedNs);
    return true;
  }

  /** Unchains the slot of a message that the engine did not take; those before it may have been acknowledged meanwhile. */
  #takeBack(handle: PartitionHandle, slot: number, last: number): void {
    if (this.#head[handle] === slot) {
      this.#head[handle] = NONE;
      this.#tail[handle] = NONE;
    } else {
      this.#tail[handle] = last;
      this.#next[last] = NONE;
    }
    this.#next[slot] = this.#freeSlot;
    this.#freeSlot = slot;
    this.#outstandingCount--;
    this.#outstandingOf[this.#producerOf[slot]!]!--;
  }

  /**
   * After the end: sends what was due and is late, so that the slowest latencies are recorded too.
   * @returns how many those were, the ones it did not get to included
   */
  async #catchUp(schedule: Schedule, endNs: number): Promise<number> {
    const sentBefore = this.#sentCount;
    const giveUpNs = endNs + CATCH_UP_NS;
    while (schedule.dueNs < endNs && this.#clock.nowNs() < giveUpNs) {
      this.#openBurst(schedule, endNs);
      if (this.#fault !== null) throw this.#fault;
      await nextTurn();
    }
    let backlog = this.#sentCount - sentBefore;
    for (; schedule.dueNs < endNs; schedule.advance()) backlog++;
    return backlog;
  }

  #requireRateMet(sentCount: number, backlog: number): void {
    if (this.#load.model !== "open") return;
    const tolerated = Math.max(BACKLOG_FRACTION * (sentCount + backlog), (this.#load.ratePerSecond * BACKLOG_NS) / 1e9);
    if (backlog <= tolerated) return;
    const rate = Math.round(this.#load.ratePerSecond);
    throw new RateNotMetError(
      `The rate of ${rate} messages/s was not met: ${backlog} messages were due and not sent when the measured interval ended.`,
    );
  }

  /** Lets the engine acknowledge what is in flight in its own time. */
  async #drain(): Promise<void> {
    const giveUpNs = this.#clock.nowNs() + DRAIN_NS;
    while (this.#outstandingCount > 0 && this.#clock.nowNs() < giveUpNs) {
      this.#engine.poll();
      if (this.#fault !== null) throw this.#fault;
      if (this.#outstandingCount > 0) await nextTurn();
    }
  }

  #finishRecording(): void {
    if (this.#recorders === null) return;
    const serviceTime = this.#recorders.service.encode();
    const isOpen = this.#load.model === "open";
    this.#latencies = {
      serviceTime,
      responseTime: isOpen ? this.#recorders.response.encode() : serviceTime,
      scheduleLag: isOpen ? this.#recorders.lag.encode() : null,
    };
    this.#recorders = null;
  }
}

/** The compiler keeps atomic loads. */
function pause(): void {
  for (let round = 0; round < PAUSE_ROUNDS; round++) Atomics.load(PAUSE_CELL, 0);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
