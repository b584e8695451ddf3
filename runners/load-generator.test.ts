import { stat } from "node:fs";
import { decodeFromCompressedBase64 } from "hdr-histogram-js";
import { describe, expect, it } from "vitest";
import {
  type EngineListener,
  type Message,
  type PartitionHandle,
  STAGE_BROKER,
  STAGE_PRODUCER,
  type StorageEngine,
} from "../engines/engine.js";
import {
  type Configuration,
  type EncodedHistogram,
  type Load,
  messagesSchema,
  TAIL_CAUSES,
} from "../results/schema.js";
import { mainThreadBetween } from "./cost-meter.js";
import { EventLog } from "./event-log.js";
import { LoadGenerator } from "./load-generator.js";
import { createMessageStream, type MessageStream } from "./message-stream.js";
import { createPayloadPool } from "./payload-pool.js";
import { DISPATCH_LAG_BYTES, IN_EVENT_LOOP, LOOP_DELAY_NS, SharedCells } from "./sampler-cells.js";
import { attributeTail } from "./tail-causes.js";

const shape = messagesSchema.parse({ sizeBytes: 16, compressibleFraction: 0 });
const values = createPayloadPool(shape, 1);
const PARTITIONS = 3;
const MILLISECOND = 1e6;

/** Every reading takes some time; an engine may let more pass. */
class FakeClock {
  now = 0;
  stepNs = 100;
  nowNs(): number {
    this.now += this.stepNs;
    return this.now;
  }
}

/** Acknowledges at poll what was appended before; each behaviour can be replaced. */
class FakeEngine {
  readonly appended: { partition: number; message: Message; timestampMs: number }[] = [];
  readonly counters = { syncCalls: 0 };
  readonly waiting = new Map<PartitionHandle, number>();
  readonly nextOffset = new Map<PartitionHandle, number>();
  longestQueue = 0;
  beforeAppend: () => boolean = () => true;
  beforePoll: () => boolean = () => true;

  constructor(readonly listener: EngineListener) {}

  append(partition: PartitionHandle, message: Message, timestampMs: number): boolean {
    if (!this.beforeAppend()) return false;
    this.appended.push({ partition, message, timestampMs });
    this.waiting.set(partition, (this.waiting.get(partition) ?? 0) + 1);
    const queued = [...this.waiting.values()].reduce((sum, count) => sum + count, 0);
    this.longestQueue = Math.max(this.longestQueue, queued);
    return true;
  }

  poll(): void {
    if (this.beforePoll()) this.acknowledgeAll();
  }

  async flush(): Promise<void> {
    this.acknowledgeAll();
  }

  acknowledgeAll(): void {
    for (const [partition, count] of this.waiting) {
      const offset = this.nextOffset.get(partition) ?? 0;
      this.waiting.delete(partition);
      this.nextOffset.set(partition, offset + count);
      this.listener.acknowledged(partition, offset, count);
    }
  }
}

function setUp(load: Load, messages: Configuration["messages"] = shape) {
  const clock = new FakeClock();
  const counters = { syncCalls: 0 };
  const producerCount = load.producers;
  const stream = createMessageStream({ values, messages, partitionCount: PARTITIONS, producerCount, seed: 1 });
  const cells = new SharedCells();
  const eventLog = new EventLog(0n, cells.numbers, null);
  const generator = new LoadGenerator({
    clock,
    epochMs: 1_700_000_000_000,
    load,
    seed: 1,
    stream,
    cells,
    eventLog,
    storageCounters: counters,
  });
  const engine = new FakeEngine(generator);
  generator.attach(
    engine as unknown as StorageEngine,
    Array.from({ length: PARTITIONS }, (_, handle) => handle),
  );
  return { clock, counters, generator, engine, stream, eventLog, cells };
}

const closed = (inFlight: number, producers = 1): Load => ({ model: "closed", inFlight, producers });
const open = (ratePerSecond: number, inFlight = 10_000): Load => ({
  model: "open",
  ratePerSecond,
  capacityFraction: 0.5,
  arrivals: "constant",
  inFlight,
  producers: 1,
});
const limits = (milliseconds: number) => ({
  durationNs: milliseconds * MILLISECOND,
  maximumMessages: Number.MAX_SAFE_INTEGER,
});
const percentile = (histogram: EncodedHistogram, share: number) =>
  decodeFromCompressedBase64(histogram.encoded).getValueAtPercentile(share);

function expectSent(engine: FakeEngine, stream: MessageStream, counts: readonly number[]): void {
  const sent = stream.sent(counts);
  let payloadBytes = 0;
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const appends = engine.appended.filter((append) => append.partition === partition);
    for (const [offset, { message }] of appends.entries()) {
      expect(message).toBe(stream.messages[sent.at(partition, offset)]);
      payloadBytes += message.valueSizeBytes + Math.max(0, message.keySizeBytes);
    }
  }
  expect(stream.payloadBytes(counts)).toBe(payloadBytes);
}

describe("what is sent", () => {
  it.each(["round-robin", "sticky", "uniform", "zipf"] as const)(
    "is, with keys %s, what the verifier expects, also where the engine takes nothing now and then",
    async (keys) => {
      const messages: Configuration["messages"] = { ...shape, keys, keyCount: 50, stickyBytes: 64 };
      const { generator, engine, stream } = setUp(closed(12, 4), messages);
      let calls = 0;
      engine.beforeAppend = () => ++calls % 5 !== 0;
      await generator.measure(limits(1));
      await generator.flush();
      const counts = generator.acknowledgedByPartition();
      expect(engine.appended.length).toBeGreaterThan(100);
      expect(Math.min(...counts)).toBeGreaterThan(0);
      expectSent(engine, stream, counts);
      const isKeyed = keys === "uniform" || keys === "zipf";
      expect(engine.appended.every(({ message }) => (message.key !== null) === isKeyed)).toBe(true);
    },
  );

  it("goes to one partition for as long as a sticky producer stays there", async () => {
    const { generator, engine } = setUp(closed(8), { ...shape, keys: "sticky", stickyBytes: 10 * 16 });
    await generator.measure(limits(1));
    const runs = engine.appended.map(({ partition }) => partition).slice(0, 500);
    for (let start = 0; start < runs.length; start += 10) {
      expect(new Set(runs.slice(start, start + 10)).size).toBe(1);
    }
    expect(new Set(runs).size).toBe(PARTITIONS);
  });

  it("leaves each producer its share of the messages in flight", async () => {
    const { generator, engine } = setUp(closed(9, 3));
    let isHeld = true;
    engine.beforePoll = () => !isHeld;
    const measuring = generator.measure(limits(0.01));
    expect(engine.appended.length).toBe(9);
    isHeld = false;
    await measuring;
    await generator.flush();
    expect(engine.longestQueue).toBe(9);
  });
});

describe("closed loop", () => {
  it("never has more in flight than it may, and fills the window before it polls", async () => {
    const { generator, engine } = setUp(closed(7));
    await generator.measure(limits(2));
    await generator.flush();
    expect(engine.longestQueue).toBe(7);
    expect(engine.appended.length).toBeGreaterThan(1_000);
  });

  it("polls an engine that acknowledges within append after every window's worth", async () => {
    const { generator, engine } = setUp(closed(10));
    const appendsAtPoll: number[] = [];
    engine.beforeAppend = () => {
      engine.acknowledgeAll();
      return true;
    };
    engine.beforePoll = () => {
      appendsAtPoll.push(engine.appended.length);
      return true;
    };
    await generator.measure(limits(1));
    expect(appendsAtPoll.length).toBeGreaterThan(10);
    expect(appendsAtPoll.slice(0, 10)).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
  });

  it("records one latency for every message sent, and sends payloads by the rule that the verifier knows", async () => {
    const { generator, engine, stream } = setUp(closed(5));
    const measured = await generator.measure(limits(2));
    await generator.flush();
    expect(measured.sentCount).toBe(engine.appended.length);
    expect(generator.latencies().serviceTime.sampleCount).toBe(measured.sentCount);
    expect(generator.latencies().responseTime).toEqual(generator.latencies().serviceTime);
    expect(generator.acknowledgedByPartition().reduce((sum, count) => sum + count, 0)).toBe(measured.sentCount);
    expectSent(engine, stream, generator.acknowledgedByPartition());
    expect(engine.appended[0]!.timestampMs).toBe(1_700_000_000_000);
  });

  it("leaves the warm-up out of the record, and ends it when the throughput is steady", async () => {
    const { generator, engine } = setUp(closed(5));
    const binNs = MILLISECOND;
    const warmup = await generator.warmUp({
      minimumNs: 0,
      maximumNs: 100 * MILLISECOND,
      maximumMessages: Number.MAX_SAFE_INTEGER,
      binNs,
      windowBins: 4,
    });
    expect(warmup.steady).toBe(true);
    expect(warmup.durationNs).toBeLessThan(20 * MILLISECOND);
    const sentBefore = engine.appended.length;
    const measured = await generator.measure(limits(2));
    await generator.flush();
    expect(sentBefore).toBeGreaterThan(0);
    expect(generator.latencies().serviceTime.sampleCount).toBe(measured.sentCount);
    expect(engine.appended.length).toBe(sentBefore + measured.sentCount);
  });

  it("says so when the throughput never gets steady", async () => {
    const { clock, generator, engine } = setUp(closed(5));
    engine.beforePoll = () => {
      // Three milliseconds of work, then three of hesitation at every poll.
      if (Math.floor(clock.now / (3 * MILLISECOND)) % 2 === 0) clock.now += 100_000;
      return true;
    };
    const warmup = await generator.warmUp({
      minimumNs: 0,
      maximumNs: 60 * MILLISECOND,
      maximumMessages: Number.MAX_SAFE_INTEGER,
      binNs: 2 * MILLISECOND,
      windowBins: 5,
    });
    expect(warmup.steady).toBe(false);
    expect(warmup.durationNs).toBeGreaterThanOrEqual(60 * MILLISECOND);
  });

  it("tells the sampler how late a heartbeat came, and the most that consumers did not see at one", async () => {
    const made = setUp(closed(4));
    const { clock, generator, engine, cells } = made;
    cells.numbers[DISPATCH_LAG_BYTES] = -1;
    const lags = [10, 70, 40];
    const asked: number[] = [];
    Object.assign(engine, {
      dispatchLagBytes: () => {
        asked.push(clock.now);
        return lags[asked.length - 1] ?? 0;
      },
    });
    const measuring = generator.measure(limits(60));
    setImmediate(() => (clock.now += 30 * MILLISECOND));
    await measuring;
    // The heartbeat is every 5 ms, and a turn a millisecond.
    expect(cells.numbers[LOOP_DELAY_NS]! / MILLISECOND).toBeGreaterThan(30 - 5);
    expect(cells.numbers[LOOP_DELAY_NS]! / MILLISECOND).toBeLessThan(30 + 2);
    expect(cells.numbers[DISPATCH_LAG_BYTES]).toBe(70);
    expect(asked.length).toBeGreaterThan(3);
    expect(Math.min(...asked.slice(1).map((at, i) => at - asked[i]!))).toBeGreaterThanOrEqual(5 * MILLISECOND);
  });

  it("ends early when it has sent as much as it may", async () => {
    const { generator } = setUp(closed(4));
    const measured = await generator.measure({ durationNs: 1e12, maximumMessages: 1_000 });
    expect(measured.sentCount).toBe(1_000);
  });

  it("sends again what the engine had no room for, in order and once", async () => {
    const { generator, engine } = setUp(closed(50));
    let attempt = 0;
    engine.beforeAppend = () => {
      attempt++;
      if (attempt % 5 !== 0) return true;
      // A full buffer is often drained within the refusing append.
      if (attempt % 2 === 0) engine.acknowledgeAll();
      return false;
    };
    const measured = await generator.measure(limits(2));
    await generator.flush();
    expect(measured.sentCount).toBe(engine.appended.length);
    expect(generator.latencies().serviceTime.sampleCount).toBe(measured.sentCount);
    for (const { partition } of engine.appended.slice(0, 100)) expect(partition).toBeLessThan(PARTITIONS);
    expect(engine.appended.map(({ partition }) => partition)).toEqual(engine.appended.map((_, i) => i % PARTITIONS));
  });
});

describe("closed loop around an engine that acknowledges from the event loop", () => {
  const DELAY_MS = 5;

  /** Every poll that finds messages has them acknowledged by `soon`, once. */
  function acknowledgeFrom(soon: (acknowledge: () => void) => void, load = closed(4)) {
    const made = setUp(load);
    const { engine } = made;
    const calls = { polls: 0, acknowledgements: 0 };
    let isUnderWay = false;
    engine.beforePoll = () => {
      calls.polls++;
      if (isUnderWay || engine.waiting.size === 0) return false;
      isUnderWay = true;
      soon(() => {
        isUnderWay = false;
        calls.acknowledgements++;
        engine.acknowledgeAll();
      });
      return false;
    };
    return { ...made, calls };
  }
  const afterATimer = (acknowledge: () => void) => setTimeout(acknowledge, DELAY_MS);
  /** By another thread, as a sync is. */
  const afterTheThreadPool = (acknowledge: () => void) => stat(".", acknowledge);

  it("polls it now and then while all is in flight", async () => {
    const { generator, calls } = acknowledgeFrom(afterATimer);
    await generator.measure({ durationNs: 1e12, maximumMessages: 4 }); // until an acknowledgement came it cannot know
    calls.polls = 0;
    const startedMs = performance.now();
    await generator.measure({ durationNs: 1e12, maximumMessages: 20 * 4 });
    const tookMs = performance.now() - startedMs;
    expect(calls.acknowledgements).toBe(1 + 20);
    expect(calls.polls).toBeGreaterThan(20);
    // A loop that spins polls 100 times a millisecond or more.
    expect(calls.polls).toBeLessThan(20 * tookMs);
  });

  it.each([
    // The thread pool wakes the event loop by itself, and is often there before it sleeps.
    { from: "a timer", soon: afterATimer, wakesBy: 1 },
    { from: "the thread pool", soon: afterTheThreadPool, wakesBy: null },
  ])("goes on at once when $from has brought the acknowledgement", async ({ soon, wakesBy }) => {
    const immediates = () => process.getActiveResourcesInfo().filter((name) => name === "Immediate").length;
    const wakes: number[] = [];
    const sentLater: number[] = [];
    const made = acknowledgeFrom((acknowledge) =>
      soon(() => {
        const sent = made.engine.appended.length;
        const before = immediates();
        acknowledge();
        // What is counted keeps the event loop from blocking.
        wakes.push(immediates() - before);
        // Called in the same turn of the event loop, after what was asked for before.
        setImmediate(() => sentLater.push(made.engine.appended.length - sent));
      }),
    );
    await made.generator.measure({ durationNs: 1e12, maximumMessages: 10 * 4 });
    if (wakesBy !== null) expect(wakes.slice(1)).toEqual(Array(9).fill(wakesBy));
    expect(sentLater.slice(1, 9)).toEqual(Array(8).fill(4));
  });

  it("records every latency as of the moment at which its acknowledgement comes", async () => {
    let sentNs = 0;
    const latenciesNs: number[] = [];
    const made = acknowledgeFrom(
      (acknowledge) =>
        afterATimer(() => {
          made.clock.now += 7 * MILLISECOND;
          latenciesNs.push(made.clock.now - sentNs);
          acknowledge();
          made.clock.now += 3 * MILLISECOND;
        }),
      closed(1),
    );
    made.engine.beforeAppend = () => {
      sentNs = made.clock.now;
      return true;
    };
    await made.generator.measure({ durationNs: 1e12, maximumMessages: 10 });
    const { responseTime } = made.generator.latencies();
    expect(latenciesNs.length).toBe(10);
    expect(percentile(responseTime, 100) / Math.max(...latenciesNs)).toBeCloseTo(1, 2);
    expect(percentile(responseTime, 1) / Math.min(...latenciesNs)).toBeCloseTo(1, 2);
  });

  it("has nothing put down to the event loop that is its own sleep, and what goes beyond that is", async () => {
    const HELD_UP_NS = 5 * MILLISECOND;
    const made = acknowledgeFrom((acknowledge) => {
      const isHeldUp = made.calls.acknowledgements === 3;
      afterATimer(() => {
        // Of what the clock runs on by, one millisecond may have been slept.
        made.clock.now += MILLISECOND + (isHeldUp ? HELD_UP_NS : 0);
        acknowledge();
      });
    });
    await made.generator.measure({ durationNs: 1e12, maximumMessages: 10 * 4 });
    const noted = made.eventLog.events().filter(({ cause }) => cause === "event-loop");
    const longestNs = Math.max(...noted.map(({ startNs, endNs }) => endNs - startNs));
    expect(longestNs / HELD_UP_NS).toBeCloseTo(1, 2);
    // The other is from before the first acknowledgement, when it did not sleep.
    expect(noted.length).toBe(2);
  });

  it("is not looked at while it sleeps, and is in the event loop when it was woken", async () => {
    const seen: string[] = [];
    const made = acknowledgeFrom((acknowledge) => {
      const look = () => {
        const before = made.cells.observed();
        made.cells.observe();
        const at = made.cells.observed().findIndex((count, place) => count > before[place]!);
        seen.push(at === -1 ? "asleep" : at === IN_EVENT_LOOP ? "event loop" : "elsewhere");
      };
      afterATimer(() => {
        look();
        acknowledge();
        look();
      });
    });
    await made.generator.measure({ durationNs: 1e12, maximumMessages: 4 * 4 });
    expect(seen.slice(2, 6)).toEqual(["asleep", "event loop", "asleep", "event loop"]);
  });

  it("ends with its time although no acknowledgement comes any more", async () => {
    const made = acknowledgeFrom((acknowledge) => {
      if (made.calls.acknowledgements < 3) setImmediate(acknowledge);
    });
    const { clock, generator, engine } = made;
    const { beforePoll } = engine;
    engine.beforePoll = () => {
      clock.now += MILLISECOND;
      return beforePoll();
    };
    const measured = await generator.measure(limits(50));
    expect(measured.acknowledgedCount).toBe(3 * 4);
    await generator.flush();
  });
});

describe("open loop", () => {
  it("sends each message when it is due, however the engine polls", async () => {
    const { generator, engine } = setUp(open(100_000));
    const measured = await generator.measure(limits(10));
    await generator.flush();
    expect(engine.appended.length).toBe(1_000);
    expect(measured.backlogAtEnd).toBe(0);
    const { scheduleLag, responseTime } = generator.latencies();
    expect(scheduleLag!.sampleCount).toBe(1_000);
    expect(responseTime.sampleCount).toBe(1_000);
    expect(percentile(scheduleLag!, 100)).toBeLessThan(2_000);
  });

  it("shows one stall in the tail of the response times, not in the median of the service times", async () => {
    const { clock, generator, engine } = setUp(open(10_000));
    clock.stepNs = 2_000;
    let hasStalled = false;
    engine.beforePoll = () => {
      if (!hasStalled && clock.now > 400 * MILLISECOND) {
        hasStalled = true;
        clock.now += 200 * MILLISECOND;
      }
      return true;
    };
    await generator.measure(limits(1_000));
    await generator.flush();
    const { responseTime, serviceTime, scheduleLag } = generator.latencies();
    // 200 ms of 1 s were lost: a fifth of the messages were due in the stall and waited 100 ms on average.
    expect(percentile(responseTime, 99)).toBeGreaterThan(180 * MILLISECOND);
    expect(percentile(responseTime, 90)).toBeGreaterThan(90 * MILLISECOND);
    expect(percentile(scheduleLag!, 99)).toBeGreaterThan(180 * MILLISECOND);
    expect(percentile(serviceTime, 50)).toBeLessThan(MILLISECOND);
    expect(responseTime.sampleCount).toBe(10_000);
  });

  it("hides the same stall in a closed loop, which is why closed loops are for capacity only", async () => {
    const { clock, generator, engine } = setUp(closed(1));
    let hasStalled = false;
    engine.beforePoll = () => {
      if (!hasStalled && clock.now > 4 * MILLISECOND) {
        hasStalled = true;
        clock.now += 200 * MILLISECOND;
      }
      return true;
    };
    await generator.measure(limits(220));
    await generator.flush();
    expect(percentile(generator.latencies().responseTime, 99)).toBeLessThan(MILLISECOND);
  });

  it("says that a rate is out of reach, and keeps how the backlog grew", async () => {
    const { clock, generator, engine } = setUp(open(1_000_000, 64));
    engine.beforePoll = () => {
      clock.now += 100_000;
      return true;
    };
    const { missedRate, backlogAtEnd, acknowledgedCount } = await generator.measure(limits(500));
    await generator.flush();
    expect(missedRate).toMatch(
      /^The rate of 1000000 messages\/s was not met: \d{5,} messages were due and not sent when the measured interval ended\.$/,
    );
    const times = [0, 100, 200, 300, 400, 500].map((atMs) => atMs * MILLISECOND + 200);
    const backlogs = generator.backlogs(times).map((backlog) => backlog!);
    expect(backlogs).toEqual(backlogs.toSorted((a, b) => a - b));
    // Of 100 messages that come due in 100 µs 64 are sent at most, all the time.
    for (const [at, backlog] of backlogs.entries()) {
      expect(Math.abs(backlog - (backlogAtEnd! * at) / 5)).toBeLessThan(0.02 * backlogAtEnd!);
    }
    expect(acknowledgedCount).toBeGreaterThan(300_000);
  });

  it("has no backlog before it is measured, nor in a closed loop", async () => {
    const paced = setUp(open(10_000));
    const startNs = paced.clock.now;
    paced.clock.now += MILLISECOND;
    expect(paced.generator.backlogs([startNs])).toEqual([null]);
    await paced.generator.measure(limits(5));
    expect(paced.generator.backlogs([startNs, paced.clock.now])).toEqual([null, 0]);
    const { generator, clock } = setUp(closed(4));
    await generator.measure(limits(5));
    expect(generator.backlogs([clock.now])).toEqual([null]);
  });

  it.each([
    { pauseMs: 4, isMet: true },
    { pauseMs: 25, isMet: false },
  ])("takes a pause of $pauseMs ms at the end of 100 ms for what it is: met is $isMet", async ({ pauseMs, isMet }) => {
    const { clock, generator, engine } = setUp(open(100_000, 64));
    clock.stepNs = 1_000;
    engine.beforePoll = () => {
      const isPause = clock.now > 100 * MILLISECOND - pauseMs * MILLISECOND && clock.now < 100 * MILLISECOND;
      if (isPause) clock.now = 100 * MILLISECOND;
      return true;
    };
    const { missedRate } = await generator.measure(limits(100));
    expect(missedRate === null).toBe(isMet);
  });

  it("records the latency of messages that are acknowledged after the end", async () => {
    const { clock, generator, engine } = setUp(open(10_000));
    clock.stepNs = 10_000;
    engine.beforePoll = () => clock.now > 150 * MILLISECOND;
    const measured = await generator.measure(limits(100));
    await generator.flush();
    expect(measured.acknowledgedCount).toBe(0);
    expect(generator.latencies().responseTime.sampleCount).toBe(1_000);
    expect(percentile(generator.latencies().responseTime, 50)).toBeGreaterThan(50 * MILLISECOND);
  });
});

describe("an engine that says whose work it is at", () => {
  it("is seen at just that, and in none of it while the generator takes its acknowledgements", async () => {
    const { clock, engine, generator, cells } = setUp(closed(30));
    let readings = 0;
    const nowNs = clock.nowNs.bind(clock);
    clock.nowNs = () => {
      readings++;
      cells.observe();
      return nowNs();
    };
    cells.stage[0] = STAGE_PRODUCER;
    let polls = 0;
    engine.beforeAppend = () => {
      for (let look = 0; look < 2; look++) cells.observe();
      return true;
    };
    engine.beforePoll = () => {
      polls++;
      cells.stage[0] = STAGE_BROKER;
      for (let look = 0; look < 30; look++) cells.observe();
      engine.acknowledgeAll();
      cells.stage[0] = STAGE_PRODUCER;
      return false;
    };
    const before = cells.observed();
    await generator.measure(limits(1));
    const producer = 2 * engine.appended.length;
    const broker = 30 * polls;
    const observations = producer + broker + readings;
    const seen = mainThreadBetween(before, cells.observed())!;
    expect(polls).toBeGreaterThan(10);
    expect(seen).toMatchObject({ observations, broker: broker / observations });
    expect(seen.engine).toBeCloseTo((producer + broker) / observations, 12);
    expect(seen.generator + seen.eventLoop).toBeCloseTo(readings / observations, 12);
  });
});

describe("an engine that stalls for 200 ms once a second", () => {
  const STALL_NS = 200 * MILLISECOND;

  async function underStalls(load: Load, tellsOfSync: boolean) {
    const { clock, generator, engine, eventLog } = setUp(load);
    clock.stepNs = 20_000;
    let stalledAtSecond = 0;
    engine.beforePoll = () => {
      const second = Math.floor(clock.now / 1e9 + 0.5);
      if (second > stalledAtSecond) {
        stalledAtSecond = second;
        if (tellsOfSync) {
          generator.event({ kind: "sync", startedNs: BigInt(clock.now), durationNs: STALL_NS - MILLISECOND });
        }
        clock.now += STALL_NS;
      }
      return true;
    };
    await generator.measure(limits(3_000));
    await generator.flush();
    const tail = attributeTail(generator.tail(), eventLog.events(), { startNs: 0, endNs: 3e9 }, TAIL_CAUSES);
    return { generator, tail };
  }

  it("shows it in the p99.9 response time of an open loop, and its median service time does not", async () => {
    const { generator } = await underStalls(open(10_000), true);
    const { responseTime, serviceTime } = generator.latencies();
    expect(percentile(responseTime, 99.9)).toBeGreaterThan(0.95 * STALL_NS);
    expect(percentile(responseTime, 95)).toBeGreaterThan(0.5 * STALL_NS);
    expect(percentile(serviceTime, 50)).toBeLessThan(MILLISECOND);
  });

  it("hides it from a closed loop, which stops sending when it would be seen", async () => {
    const { generator } = await underStalls(closed(1), true);
    const { responseTime } = generator.latencies();
    expect(responseTime.sampleCount).toBeGreaterThan(10_000);
    expect(percentile(responseTime, 99.9)).toBeLessThan(MILLISECOND);
    expect(percentile(responseTime, 100)).toBeGreaterThanOrEqual(STALL_NS);
  });

  it("has its tail put down to what it says it did", async () => {
    const { tail } = await underStalls(open(10_000), true);
    expect(tail.count).toBeGreaterThan(0);
    expect(tail.examinedCount).toBe(tail.count);
    expect(tail.causes.map(({ cause, count }) => ({ cause, count }))).toEqual([{ cause: "sync", count: tail.count }]);
    expect(tail.causes[0]!.worstNs).toBeGreaterThan(0.95 * STALL_NS);
    expect(tail.causes[0]!.presence).toBeCloseTo(0.2, 1);
  });

  it("has it put down to its long call where it says nothing", async () => {
    const { tail } = await underStalls(open(10_000), false);
    expect(tail.causes.map(({ cause }) => cause)).toEqual(["engine-call"]);
  });

  it("has what came after its stall in the event loop put down to that", async () => {
    const { clock, generator, engine, eventLog } = setUp(open(10_000));
    clock.stepNs = 20_000;
    let isStalled = false;
    engine.beforePoll = () => {
      if (!isStalled && clock.now > 500 * MILLISECOND) {
        isStalled = true;
        queueMicrotask(() => setImmediate(() => (clock.now += STALL_NS)));
      }
      return true;
    };
    await generator.measure(limits(1_000));
    await generator.flush();
    const { causes } = attributeTail(generator.tail(), eventLog.events(), { startNs: 0, endNs: 1e9 }, TAIL_CAUSES);
    expect(causes.map(({ cause }) => cause)).toEqual(["event-loop"]);
  });
});

describe("an engine that breaks the contract", () => {
  it.each([
    [
      "acknowledges an offset out of turn",
      (listener: EngineListener) => listener.acknowledged(0, 5, 1),
      /offset 5 .* where \d+ was next/,
    ],
    [
      "acknowledges more than was sent",
      (listener: EngineListener) => listener.acknowledged(2, 0, 999),
      /more messages/,
    ],
    [
      "acknowledges an unknown partition",
      (listener: EngineListener) => listener.acknowledged(77, 0, 1),
      /never gave out/,
    ],
    ["fails messages", (listener: EngineListener) => listener.failed(1, 3, new Error("disk on fire")), /disk on fire/],
  ])("is caught when it %s", async (_, misbehave, message) => {
    const { generator, engine } = setUp(closed(4));
    engine.beforePoll = () => {
      misbehave(generator);
      return true;
    };
    await expect(generator.measure(limits(5))).rejects.toThrow(message);
  });

  it("is caught when flush leaves messages unacknowledged", async () => {
    const { clock, generator, engine } = setUp(closed(4));
    engine.beforePoll = () => {
      clock.now += 10 * MILLISECOND;
      return false;
    };
    engine.flush = async () => {};
    await generator.measure(limits(5));
    await expect(generator.flush()).rejects.toThrow("flush() resolved with 4 messages unacknowledged.");
  });

  it("passes on what append throws", async () => {
    const { generator, engine } = setUp(closed(4));
    engine.beforeAppend = () => {
      throw new RangeError("boom");
    };
    await expect(generator.measure(limits(5))).rejects.toThrow("boom");
  });

  it("is told apart by its syncs: an acknowledgement without one since the append is counted", async () => {
    const honest = setUp(closed(4));
    honest.engine.beforePoll = () => {
      honest.counters.syncCalls++;
      return true;
    };
    await honest.generator.measure(limits(2));
    expect(honest.generator.unsyncedCount).toBe(0);
    const lying = setUp(closed(4));
    const { acknowledgedCount } = await lying.generator.measure(limits(2));
    expect(lying.generator.unsyncedCount).toBeGreaterThanOrEqual(acknowledgedCount);
  });
});
