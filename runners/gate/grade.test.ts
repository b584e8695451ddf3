import { describe, expect, it } from "vitest";
import { measuredSchema } from "../../results/schema.js";
import { readFigures } from "./figures.js";
import { gradeAnswer } from "./grade.js";
import { type OkAnswer, trialAnswerSchema } from "./trial-exchange.js";

const throughput = { messagesPerSecond: 5, payloadBytesPerSecond: 5, durationNs: 1e9 };
const histogram = { encoded: "", sampleCount: 1e6, overflowCount: 0 };
const counterNames = Object.keys(measuredSchema.shape.counters.shape);

function answer(changes: Record<string, unknown>): OkAnswer {
  const sample = { atNs: 1e9, durationNs: 1e9, acknowledgedMessages: 1, processCpuFraction: 1, garbageCollectionNs: 0 };
  const unknown = { dirtyBytes: null, writebackBytes: null, deviceWrittenBytes: null, deviceUtilisation: null };
  const measured = {
    ...{ acknowledgedCount: 10, sentCount: 10, warmupNs: 1e9, steady: true, durabilityClass: "D1" },
    ...{ acknowledged: throughput, durable: throughput, finalFlushNs: 1, dirtyBytesAtEnd: null },
    ...{ responseTime: histogram, serviceTime: histogram, scheduleLag: null, backlogAtEnd: null },
    counters: Object.fromEntries(counterNames.map((name) => [name, 1])),
    samples: [{ ...sample, ...unknown, eventLoopDelayMaxNs: 0, stealFraction: 0.3 }],
    ...{ cpuUserNs: 70, cpuSystemNs: 30, maxResidentBytes: 1 },
    ...changes,
  };
  const counts = { expectedMessages: 1, readMessages: 1, checkedBytes: 1, durationNs: 1 };
  const verification = { outcome: "passed", ...counts, problems: [] };
  return trialAnswerSchema.parse({ status: "ok", measured, verification }) as OkAnswer;
}

describe("the grade of a gate's trial", () => {
  it("marks each figure that hangs on time when the hypervisor withheld too much of it", () => {
    const stolen = answer({});
    const figures = readFigures("closed", stolen.measured, gradeAnswer(stolen, "x", {}));
    const invalid = expect.stringMatching(/hypervisor withheld 30 %/);
    expect(figures).toEqual({
      durableThroughput: { value: 5, invalid },
      acknowledgedThroughput: { value: 5, invalid },
      residentBytes: 1,
    });
    const cpu = readFigures("duet", stolen.measured, gradeAnswer(stolen, "x", {}));
    expect(cpu).toEqual({ cpuPerMessage: { value: 10, invalid } });
  });

  it("leaves a trial on a machine of its own as it is", () => {
    const calm = answer({ samples: [] });
    expect(gradeAnswer(calm, "x", {})?.durable.grade).toBe("valid");
    expect(readFigures("duet", calm.measured, gradeAnswer(calm, "x", {})).cpuPerMessage).toBe(10);
  });

  it("holds nothing against a build that tells less than this one, or other things", () => {
    for (const changes of [{ steady: undefined }, { novelty: 1 }]) {
      const other = answer(changes);
      expect(gradeAnswer(other, "x", {})).toBeNull();
      expect(readFigures("closed", other.measured, null).durableThroughput).toBe(5);
    }
  });

  it("takes an engine that falls behind for slow, and not for invalid", () => {
    const behind = answer({ samples: [], backlogAtEnd: 5 });
    expect(gradeAnswer(behind, "x", {})?.responseTime.grade).not.toBe("invalid");
  });
});
