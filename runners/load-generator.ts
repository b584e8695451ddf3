import { performance } from "node:perf_hooks";
import type { EngineEvent, EngineListener, PartitionHandle, StorageEngine } from "../engines/engine.js";
import type { EncodedHistogram, Load } from "../results/schema.js";
import { BacklogTrace } from "./backlog.js";
import type { Clock } from "./clock.js";
import type { EventLog } from "./event-log.js";
import { LatencyRecorder } from "./latency-recorder.js";
import { LongestIntervals } from "./longest-intervals.js";
import type { MessageStream } from "./message-stream.js";
import {
  ACKNOWLEDGED,
  ASLEEP,
  DISPATCH_LAG_BYTES,
  IN_ENGINE,
  IN_EVENT_LOOP,
  IN_GENERATOR,
  LOOP_DELAY_NS,
  LOOP_IDLE_NS,
  LOOP_READ_NS,
  type SharedCells,
} from "./sampler-cells.js";
import { createSchedule, type Schedule } from "./schedule.js";
import { SteadyState } from "./steady-state.js";
import type { SlowMessage } from "./tail-causes.js";
import { LONGEST_SLEEP_NS, Turns } from "./turns.js";

/** The engine broke the contract: it acknowledged what was never sent, or failed messages. */
export class EngineFaultError extends Error {
  override name = "EngineFaultError";
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
  /** A sentence, where an open load could not be kept up with; else null. */
  readonly missedRate: string | null;
}

export interface RecordedLatencies {
  readonly responseTime: EncodedHistogram;
  readonly serviceTime: EncodedHistogram;
  readonly scheduleLag: EncodedHistogram | null;
}

/** Response times that reach the percentile, to three digits. */
export interface SlowTail {
  readonly percentile: number;
  readonly thresholdNs: number;
  readonly count: number;
  /** All of them, or the longest. */
  readonly messages: readonly SlowMessage[];
}

interface Recorders {
  readonly response: LatencyRecorder;
  /** The same one in a closed loop, where a message is due when it is sent. */
  readonly service: LatencyRecorder;
  readonly lag: LatencyRecorder;
  readonly slowest: LongestIntervals;
}

/** The loop gives the event loop a turn at least this often: timers, and completions of asynchronous syncs. */
const YIELD_AFTER_NS = 1_000_000;
/**
 * The heartbeat that event-loop delay is measured by: due so often, and seen in the next turn. A timer of its own would cost
 * 50 µs each time, one hundredth of a processor.
 */
const HEARTBEAT_NS = 5_000_000;
/** After its end an open load may still send what was due, for at most this long. */
const CATCH_UP_NS = 2_000_000_000;
/** How long outstanding messages may take to be acknowledged before the final flush forces them. */
const DRAIN_NS = 1_000_000_000;
/**
 * A rate counts as met with a backlog of up to 1 % of what was due, or of 50 ms' worth, but of a tenth of the interval at
 * most: a pause, not a trend.
 */
const BACKLOG_FRACTION = 0.01;
const BACKLOG_NS = 50_000_000;
const BACKLOG_INTERVAL_FRACTION = 0.1;
const NONE = -1;
/** A call of the engine, or a turn of the event loop, that takes longer is noted: it may explain a slow message. */
const LONG_NS = 200_000;
/** Half as many of the slowest messages are kept for certain: all beyond p99.9 of 65 million. */
const SLOWEST_KEPT = 131_072;
const TAIL_PERCENTILE = 99.9;
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
 * - Closed loop: appends until `inFlight` messages are unacknowledged, or sent since, then polls: the ceiling, no more. Where
 *   the event loop brings the acknowledgements it sleeps until then: a loop that spins takes a processor from the threads
 *   that it waits for.
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
  readonly #numbers: Float64Array;
  readonly #responseCounts: Float64Array;
  /** One cell: where this thread is, for the sampler to see. */
  readonly #place: Int32Array;
  readonly #eventLog: EventLog;
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
  readonly #turns = new Turns();
  /** Of a closed loop: nothing can be sent, and the last poll brought nothing. */
  #isStuck = false;
  /** Where the last acknowledgement came from: the event loop, or a call of the engine. */
  #eventLoopAcknowledges = false;
  /** From then on the event loop keeps the next burst waiting; NaN before the first of a drive. */
  #turnEndedNs = Number.NaN;
  /** NaN before the first turn of a drive. */
  #heartbeatDueNs = Number.NaN;
  #fault: Error | null = null;

  /** Null before the measured interval: its messages are all recorded, and no others. */
  #recorders: Recorders | null = null;
  /** The same, of an open load. */
  #backlog: BacklogTrace | null = null;

  constructor(options: {
    clock: Clock;
    /** Wall-clock time of the clock's zero, for message timestamps. */
    epochMs: number;
    load: Load;
    seed: number;
    stream: MessageStream;
    /** For the sampler: acknowledged messages, response times, event-loop delay, dispatch lag, and where this thread is. */
    cells: SharedCells;
    eventLog: EventLog;
    /** Of the storage that the engine was given: its `syncCalls` rises when a sync begins. */
    storageCounters: { readonly syncCalls: number };
  }) {
    const { inFlight, producers } = options.load;
    this.#clock = options.clock;
    this.#epochNs = options.epochMs * 1e6;
    this.#load = options.load;
    this.#seed = options.seed;
    this.#stream = options.stream;
    this.#numbers = options.cells.numbers;
    this.#responseCounts = options.cells.responseCounts;
    this.#place = options.cells.place;
    this.#eventLog = options.eventLog;
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

  /** Of the measured messages, when they are all acknowledged. Takes milliseconds, so nothing may be timed meanwhile. */
  latencies(): RecordedLatencies {
    const { response, service, lag } = this.#recorders!;
    const responseTime = response.encode();
    if (this.#load.model === "closed") return { responseTime, serviceTime: responseTime, scheduleLag: null };
    return { responseTime, serviceTime: service.encode(), scheduleLag: lag.encode() };
  }

  /** The slowest of the measured messages, when they are all acknowledged. Takes as long. */
  tail(): SlowTail {
    const { response, slowest } = this.#recorders!;
    const { latencyNs, count } = response.reachedByAtMost(response.sampleCount * (1 - TAIL_PERCENTILE / 100));
    const messages = slowest
      .intervals()
      .filter(({ startNs, endNs }) => endNs - startNs >= latencyNs)
      .map(({ startNs, middleNs, endNs }) => ({ intendedNs: startNs, sentNs: middleNs, acknowledgedNs: endNs }));
    return { percentile: TAIL_PERCENTILE, thresholdNs: latencyNs, count, messages };
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
   * acknowledgement comes after its end. A rate that was not met is told, with all that was measured meanwhile.
   * @throws EngineFaultError, and what the engine throws
   */
  async measure(limits: MeasureLimits): Promise<MeasuredLoad> {
    this.#recorders = this.#createRecorders();
    const startedNs = this.#clock.nowNs();
    const endNs = startedNs + limits.durationNs;
    const sentBefore = this.#sentCount;
    const acknowledgedBefore = this.#acknowledgedCount;
    if (this.#load.model === "open") this.#backlog = new BacklogTrace(startedNs, endNs, sentBefore);
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
    this.#backlog?.note(this.#clock.nowNs(), this.#sentCount);
    await this.#drain();
    const missedRate = this.#missedRate(sentCount, backlogAtEnd ?? 0, limits.durationNs);
    return { startedNs, durationNs: endedNs - startedNs, sentCount, acknowledgedCount, backlogAtEnd, missedRate };
  }

  /**
   * Messages of the measured interval that were due at these ascending times and had not been sent; null for times before it,
   * and in a closed loop. Walks the whole schedule, so nothing may be timed meanwhile.
   */
  backlogs(timesNs: readonly number[]): (number | null)[] {
    const backlog = this.#backlog;
    if (backlog === null || this.#load.model !== "open") return timesNs.map(() => null);
    return backlog.at(timesNs, this.#createSchedule(this.#load, backlog.startNs));
  }

  /** Flushes the engine, after which everything sent must be acknowledged. @throws EngineFaultError */
  async flush(): Promise<void> {
    await this.#engine.flush();
    if (this.#fault !== null) throw this.#fault;
    if (this.#outstandingCount > 0) {
      throw new EngineFaultError(`flush() resolved with ${this.#outstandingCount} messages unacknowledged.`);
    }
  }

  acknowledged(partition: PartitionHandle, baseOffset: number, messageCount: number): void {
    const place = this.#place[0]!;
    this.#place[0] = IN_GENERATOR;
    const nowNs = this.#clock.nowNs();
    this.#eventLoopAcknowledges = place === IN_EVENT_LOOP || place === ASLEEP;
    if (place === ASLEEP) this.#wake(nowNs);
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
        const sentNs = this.#sentNs[slot]!;
        const intendedNs = this.#intendedNs[slot]!;
        recorders.response.record(nowNs - intendedNs);
        if (isOpen) recorders.service.record(nowNs - sentNs);
        recorders.slowest.offer(intendedNs, sentNs, nowNs);
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
    this.#numbers[ACKNOWLEDGED] = this.#acknowledgedCount;
    this.#place[0] = place === ASLEEP ? IN_EVENT_LOOP : place;
  }

  failed(partition: PartitionHandle, messageCount: number, error: Error): void {
    this.#fault ??= new EngineFaultError(
      `${messageCount} messages of partition handle ${partition} failed: ${error.message}`,
      { cause: error },
    );
  }

  event(event: EngineEvent): void {
    this.#eventLog.engineEvent(event);
  }

  #createRecorders(): Recorders {
    this.#responseCounts.fill(0);
    const response = new LatencyRecorder(this.#responseCounts);
    return {
      response,
      service: this.#load.model === "open" ? new LatencyRecorder() : response,
      lag: new LatencyRecorder(),
      slowest: new LongestIntervals(SLOWEST_KEPT, response),
    };
  }

  #wake(nowNs: number): void {
    this.#turnEndedNs = Math.min(this.#turnEndedNs, nowNs);
    this.#turns.wake();
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
    const schedule = load.model === "open" ? this.#createSchedule(load, rule.startNs) : null;
    this.#turnEndedNs = Number.NaN;
    this.#heartbeatDueNs = Number.NaN;
    return new Promise((resolve, reject) => {
      const turn = () => {
        try {
          const nowNs = this.#burst(schedule, rule.endNs, sentLimit);
          const isFull = schedule === null && this.#sentCount >= sentLimit;
          if (nowNs >= rule.endNs || isFull || rule.isOver(nowNs)) {
            resolve(schedule);
          } else if (this.#isStuck && this.#eventLoopAcknowledges) {
            // It should be awake by then, if nothing wakes it before.
            this.#turnEndedNs = nowNs + LONGEST_SLEEP_NS;
            this.#place[0] = ASLEEP;
            this.#turns.asleep(turn);
          } else {
            this.#turns.soon(turn);
          }
        } catch (error) {
          reject(error);
        }
      };
      turn();
    });
  }

  #createSchedule({ ratePerSecond, arrivals, producers }: Load & { model: "open" }, startNs: number): Schedule {
    return createSchedule({ startNs, ratePerSecond, arrivals, producerCount: producers, seed: this.#seed });
  }

  /** One burst of an open load or, without schedule, of a closed one, and what took long in it and since the last. */
  #burst(schedule: Schedule | null, endNs: number, sentLimit: number): number {
    const beganNs = this.#clock.nowNs();
    if (beganNs - this.#turnEndedNs > LONG_NS) this.#eventLog.heldUp("event-loop", this.#turnEndedNs, beganNs);
    this.#place[0] = IN_GENERATOR;
    if (!(beganNs < this.#heartbeatDueNs)) this.#beat(beganNs);
    const readNs =
      schedule === null ? this.#closedBurst(beganNs, endNs, sentLimit) : this.#openBurst(beganNs, schedule, endNs);
    this.#place[0] = IN_EVENT_LOOP;
    if (this.#fault !== null) throw this.#fault;
    const nowNs = this.#clock.nowNs();
    if (nowNs - readNs > LONG_NS) this.#eventLog.heldUp("engine-call", readNs, nowNs);
    this.#turnEndedNs = nowNs;
    return nowNs;
  }

  #beat(nowNs: number): void {
    const numbers = this.#numbers;
    const delayNs = nowNs - this.#heartbeatDueNs;
    if (delayNs > numbers[LOOP_DELAY_NS]!) numbers[LOOP_DELAY_NS] = delayNs;
    this.#heartbeatDueNs = nowNs + HEARTBEAT_NS;
    numbers[LOOP_IDLE_NS] = performance.eventLoopUtilization().idle * 1e6;
    numbers[LOOP_READ_NS] = nowNs;
    this.#eventLog.beat(nowNs);
    this.#backlog?.note(nowNs, this.#sentCount);
    if (this.#engine.dispatchLagBytes === undefined) return;
    const lagBytes = this.#engine.dispatchLagBytes();
    if (lagBytes > numbers[DISPATCH_LAG_BYTES]!) numbers[DISPATCH_LAG_BYTES] = lagBytes;
  }

  /**
   * Sends a window's worth, polls, and so on, until only the event loop can bring acknowledgements or has waited too long.
   * What an engine acknowledges within append leaves the window empty, so what was sent since the last poll counts too.
   * @returns the last reading of the clock: a call of the engine may have followed
   */
  #closedBurst(beganNs: number, endNs: number, sentLimit: number): number {
    let nowNs = beganNs;
    let readNs = beganNs;
    const untilNs = Math.min(nowNs + YIELD_AFTER_NS, endNs);
    const { inFlight } = this.#load;
    this.#isStuck = false;
    while (nowNs < untilNs && this.#fault === null) {
      const sentBefore = this.#sentCount;
      let wasTaken = true;
      while (
        this.#hasRoom() &&
        this.#sentCount < this.#polledAtCount + inFlight &&
        this.#sentCount < sentLimit &&
        wasTaken
      ) {
        nowNs = this.#clock.nowNs();
        if (nowNs - readNs > LONG_NS) this.#eventLog.heldUp("engine-call", readNs, nowNs);
        readNs = nowNs;
        // The window stays open over the pause, so that batches fill the same however often the loop pauses.
        if (nowNs >= untilNs) return nowNs;
        wasTaken = this.#send(nowNs, nowNs);
      }
      const acknowledgedBefore = this.#acknowledgedCount;
      this.#polledAtCount = this.#sentCount;
      this.#poll();
      if (this.#acknowledgedCount === acknowledgedBefore && this.#outstandingCount > 0) {
        // What has just been sent the engine may take up at the next poll.
        this.#isStuck = this.#sentCount === sentBefore;
        return readNs;
      }
      if (this.#sentCount >= sentLimit) return readNs;
      nowNs = this.#clock.nowNs();
      if (nowNs - readNs > LONG_NS) this.#eventLog.heldUp("engine-call", readNs, nowNs);
      readNs = nowNs;
    }
    return readNs;
  }

  /** The same for what is due. */
  #openBurst(beganNs: number, schedule: Schedule, endNs: number): number {
    let nowNs = beganNs;
    let readNs = beganNs;
    const untilNs = nowNs + YIELD_AFTER_NS;
    while (nowNs < untilNs && this.#fault === null) {
      while (schedule.dueNs <= nowNs && schedule.dueNs < endNs && nowNs < untilNs) {
        if (!this.#hasRoom() || !this.#send(schedule.dueNs, nowNs)) break;
        schedule.advance();
        nowNs = this.#clock.nowNs();
        if (nowNs - readNs > LONG_NS) this.#eventLog.heldUp("engine-call", readNs, nowNs);
        readNs = nowNs;
      }
      this.#poll();
      if (this.#outstandingCount > 0 || schedule.dueNs >= endNs) return readNs;
      pause();
      nowNs = this.#clock.nowNs();
      if (nowNs - readNs > LONG_NS) this.#eventLog.heldUp("engine-call", readNs, nowNs);
      readNs = nowNs;
    }
    return readNs;
  }

  #poll(): void {
    this.#place[0] = IN_ENGINE;
    this.#engine.poll();
    this.#place[0] = IN_GENERATOR;
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
    this.#place[0] = IN_ENGINE;
    // Within append the engine may acknowledge this message and any before it.
    const message = stream.messages[stream.index]!;
    const wasTaken = this.#engine.append(handle, message, Math.floor((this.#epochNs + nowNs) / 1e6));
    this.#place[0] = IN_GENERATOR;
    if (!wasTaken) {
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
      this.#burst(schedule, endNs, Number.POSITIVE_INFINITY);
      await new Promise<void>((resolve) => this.#turns.soon(resolve));
    }
    let backlog = this.#sentCount - sentBefore;
    for (; schedule.dueNs < endNs; schedule.advance()) backlog++;
    return backlog;
  }

  #missedRate(sentCount: number, backlog: number, durationNs: number): string | null {
    if (this.#load.model !== "open") return null;
    const pauseNs = Math.min(BACKLOG_NS, BACKLOG_INTERVAL_FRACTION * durationNs);
    const tolerated = Math.max(BACKLOG_FRACTION * (sentCount + backlog), (this.#load.ratePerSecond * pauseNs) / 1e9);
    if (backlog <= tolerated) return null;
    const rate = Math.round(this.#load.ratePerSecond);
    return `The rate of ${rate} messages/s was not met: ${backlog} messages were due and not sent when the measured interval ended.`;
  }

  /** Lets the engine acknowledge what is in flight in its own time. */
  async #drain(): Promise<void> {
    const giveUpNs = this.#clock.nowNs() + DRAIN_NS;
    while (this.#outstandingCount > 0 && this.#clock.nowNs() < giveUpNs && this.#fault === null) {
      this.#poll();
      if (this.#outstandingCount === 0) break;
      this.#place[0] = this.#eventLoopAcknowledges ? ASLEEP : IN_EVENT_LOOP;
      await new Promise<void>((resolve) => {
        if (this.#eventLoopAcknowledges) this.#turns.asleep(resolve);
        else this.#turns.soon(resolve);
      });
    }
    this.#place[0] = IN_EVENT_LOOP;
    if (this.#fault !== null) throw this.#fault;
  }
}

/** The compiler keeps atomic loads. */
function pause(): void {
  for (let round = 0; round < PAUSE_ROUNDS; round++) Atomics.load(PAUSE_CELL, 0);
}
