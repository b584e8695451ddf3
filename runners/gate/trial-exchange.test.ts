import { describe, expect, it } from "vitest";
import { z } from "zod";
import { trialInputSchema } from "../trial-protocol.js";
import { countedAnswerSchema, trialAnswerSchema, trialOrder } from "./trial-exchange.js";
import { PROFILES } from "./workloads.js";

/** What the first build that the gate can compare with understood, to the letter. */
const oldestOrderSchema = z.strictObject({
  engine: z.string(),
  directory: z.string(),
  configuration: z.strictObject({
    topology: z.strictObject({ topicCount: z.number(), partitionsPerTopic: z.number() }),
    messages: z.strictObject({ sizeBytes: z.number(), compressibleFraction: z.number() }),
    load: z.discriminatedUnion("model", [
      z.strictObject({ model: z.literal("closed"), inFlight: z.number() }),
      z.strictObject({
        model: z.literal("open"),
        ratePerSecond: z.number(),
        capacityFraction: z.number(),
        arrivals: z.enum(["constant", "poisson"]),
        inFlight: z.number(),
      }),
    ]),
    settings: z.record(z.string(), z.json()),
  }),
  seed: z.number(),
  limits: z.strictObject({
    warmup: z.strictObject({
      minimumNs: z.number(),
      maximumNs: z.number(),
      maximumMessages: z.number(),
      binNs: z.number(),
      windowBins: z.number(),
    }),
    measure: z.strictObject({ durationNs: z.number(), maximumMessages: z.number() }),
  }),
  sampleIntervalMs: z.number(),
  deviceStatPath: z.string().nullable(),
});
const workloads = PROFILES.gate!.workloads.filter(({ kind }) => kind !== "recovery");

describe("what the gate tells a trial", () => {
  it.each(workloads.map((workload) => [workload.id, workload] as const))(
    "of the workload %s is understood by the oldest build and by this one",
    (_, workload) => {
      const settings = { flush: "async", segmentSizeBytes: 1 };
      const order = trialOrder(workload, 1_000, { engine: "raw", directory: "/d", settings, seed: 1 });
      expect(oldestOrderSchema.parse(order)).toEqual(order);
      expect(trialInputSchema.parse(order)).toMatchObject(order);
    },
  );
});

describe("what the gate reads of a trial's answer", () => {
  const histogram = { encoded: "", sampleCount: 0, overflowCount: 0 };
  const throughput = { messagesPerSecond: 1, payloadBytesPerSecond: 1, durationNs: 1 };
  const measured = {
    acknowledgedCount: 1,
    cpuUserNs: 1,
    cpuSystemNs: 1,
    durable: throughput,
    acknowledged: throughput,
    responseTime: histogram,
    maxResidentBytes: 1,
    counters: { writeCalls: 3, unheardOf: 4 },
  };

  it("is content with what it does not know and does not miss what it does not read", () => {
    const answer = { status: "ok", measured: { ...measured, novelty: 1 }, verification: "of another form" };
    expect(trialAnswerSchema.parse({ ...answer, more: 1 })).toEqual({ ...answer, warnings: [] });
    expect(trialAnswerSchema.safeParse({ status: "ok", measured }).success).toBe(true);
  });

  it("is of a counted trial what was counted, whatever its times are: its clock may not have moved", () => {
    const durable = { ...throughput, messagesPerSecond: null };
    const answer = { status: "ok", measured: { ...measured, durable, durabilityClass: "D9" }, warnings: ["w"] };
    const read = countedAnswerSchema.parse(answer);
    expect(read).toMatchObject({ measured: { counters: measured.counters }, warnings: ["w"] });
    expect(read).not.toHaveProperty("measured.durabilityClass", "D9");
    expect(trialAnswerSchema.safeParse(answer).success).toBe(false);
    expect(countedAnswerSchema.safeParse({ status: "ok", measured: {} }).success).toBe(false);
  });

  it("is refused without a figure that the gate judges by", () => {
    const { durable: _, ...lacking } = measured;
    expect(trialAnswerSchema.safeParse({ status: "ok", measured: lacking }).success).toBe(false);
  });
});
