import { build, encodeIntoCompressedBase64 } from "hdr-histogram-js";
import { describe, expect, it } from "vitest";
import { type Measured, messagesSchema, type Trial } from "./schema.js";
import {
  type Circumstances,
  FIGURE_NAMES,
  type FigureName,
  gradeCell,
  gradeTrial,
  type Judgement,
  usableTrials,
} from "./validity.js";

const MEMORY = 1e9;
const circumstances: Circumstances = { memoryBytes: MEMORY, isSyncFree: false, allowsNeighbours: true };

function histogram(valueNs: number, sampleCount: number) {
  const recorded = build({ lowestDiscernibleValue: 1, highestTrackableValue: 60e9, bitBucketSize: 64 });
  recorded.recordValueWithCount(valueNs, sampleCount);
  return { encoded: encodeIntoCompressedBase64(recorded), sampleCount, overflowCount: 0 };
}

const sample = {
  atNs: 1e9,
  durationNs: 1e9,
  acknowledgedMessages: 1e6,
  dirtyBytes: 0,
  writebackBytes: 0,
  deviceWrittenBytes: 2e9,
  deviceUtilisation: 1,
  processCpuFraction: 1,
  stealFraction: 0,
  garbageCollectionNs: 0,
  eventLoopDelayMaxNs: 0,
  eventLoopUtilisation: null,
  detail: null,
};
const sound: Measured = {
  acknowledgedCount: 1e6,
  sentCount: 1e6,
  warmupNs: 1e9,
  steady: true,
  durabilityClass: "D1",
  acknowledged: { messagesPerSecond: 1e6, payloadBytesPerSecond: 1e9, durationNs: 1e9 },
  durable: { messagesPerSecond: 5e5, payloadBytesPerSecond: 5e8, durationNs: 2e9 },
  finalFlushNs: 1e9,
  dirtyBytesAtEnd: 0,
  dirtyBytesAtStart: 0,
  ownDeviceBytes: 2e9,
  filesRolledInside: 1,
  clockStepNs: 0,
  responseTime: histogram(1000, 1e6),
  serviceTime: histogram(1000, 1e6),
  scheduleLag: histogram(1000, 1e6),
  backlogAtEnd: 0,
  counters: {
    appendedMessages: 1e6,
    acknowledgedMessages: 1e6,
    batches: 1e5,
    logBytes: 2 * MEMORY,
    indexEntries: 0,
    indexBytes: 0,
    filesRolled: 2,
    writeCalls: 1e5,
    writtenBytes: 2 * MEMORY,
    readCalls: 0,
    readBytes: 0,
    syncCalls: 0,
    filesOpened: 1,
    filesCreated: 1,
    filesDeleted: 0,
  },
  samples: [sample],
  cpuUserNs: 1e9,
  cpuSystemNs: 1e9,
  maxResidentBytes: 1e8,
} as Measured;
const verification = {
  outcome: "passed" as const,
  expectedMessages: 1e6,
  readMessages: 1e6,
  checkedBytes: 1e9,
  durationNs: 1,
  problems: [],
};
const base: Trial = {
  trialId: "t",
  scenarioId: "s",
  engine: "partitioned-log",
  point: {},
  repetition: 0,
  phase: "trials",
  limits: null,
  order: 0,
  seed: 1,
  configuration: {
    topology: { topicCount: 1, partitionsPerTopic: 1 },
    messages: messagesSchema.parse({ sizeBytes: 1000, compressibleFraction: 0 }),
    load: {
      model: "open",
      ratePerSecond: 1e6,
      capacityFraction: 0.7,
      arrivals: "poisson",
      inFlight: 65_536,
      producers: 1,
    },
    settings: { segmentSizeBytes: 1e9 },
  },
  startedAt: "2025-01-01T00:00:00Z",
  durationNs: 3e9,
  disturbedAttempts: [],
  identity: null,
  status: "ok",
  failureKind: null,
  failures: [],
  warnings: [],
  verification,
  measured: sound,
};
const having = (changes: Partial<Measured>, trial: Partial<Trial> = {}): Trial => ({
  ...base,
  ...trial,
  measured: { ...sound, ...changes },
});
const counters = (changes: Partial<Measured["counters"]>) => ({ counters: { ...sound.counters, ...changes } });
/** Grade of each figure: "vdi" = acknowledged valid, durable doubtful, response time invalid. */
const letters = (trial: Trial, under = circumstances) => {
  const validity = gradeTrial(trial, under);
  return FIGURE_NAMES.map((name) => validity[name].grade[0]).join("");
};
const texts = ({ reasons }: Judgement) => reasons.map(({ text }) => text);
const reasons = (trial: Trial, figure: FigureName, under = circumstances) => texts(gradeTrial(trial, under)[figure]);

it("finds nothing against a sound trial, in any figure", () => {
  expect(gradeTrial(base, circumstances)).toEqual(
    Object.fromEntries(FIGURE_NAMES.map((name) => [name, { grade: "valid", reasons: [] }])),
  );
});

it("gives no figure of a failed trial any worth", () => {
  expect(letters({ ...base, status: "failed", measured: null })).toBe("iii");
});

describe("each reason by itself", () => {
  const cases: [string, Trial, string, FigureName, RegExp][] = [
    ["a clock step", having({ clockStepNs: -2e9 }), "iii", "durable", /came apart by 2000 ms/],
    ["steal", having({ samples: [{ ...sample, stealFraction: 0.05 }] }), "ddd", "durable", /withheld 5 % of/],
    ["much steal", having({ samples: [{ ...sample, stealFraction: 0.2 }] }), "iii", "durable", /withheld 20 % of/],
    ["a rate not met", having({ backlogAtEnd: 60_000 }), "iii", "durable", /rate was not met: 5\.7 % of the messages/],
    ["a pause at the end", having({ backlogAtEnd: 50_000 }), "ddd", "durable", /met but for a pause .*: 4\.8 % of the/],
    [
      "a late generator",
      having({ scheduleLag: histogram(5e6, 10) }),
      "vvd",
      "responseTime",
      /behind .* more than 5 ms/,
    ],
    [
      "a first roll",
      having(counters({ filesRolled: 1 })),
      "ddd",
      "durable",
      /^The first roll of a segment or file fell into the interval/,
    ],
    ["no steady state", having({ steady: false }), "ddd", "durable", /not become steady .* 1000 ms of warm-up/],
    [
      "another writer",
      having({ samples: [{ ...sample, deviceWrittenBytes: 2.5e9 }] }),
      "ddd",
      "durable",
      /Somebody else wrote to the device: 20 % of/,
    ],
    ["mostly others", having({ ownDeviceBytes: 1e8 }), "iii", "durable", /95 % of what it wrote/],
    [
      "dirty bytes left",
      having({ dirtyBytesAtEnd: 5e8 }),
      "dvv",
      "acknowledged",
      /500 MB were still to be written back/,
    ],
    ["a set that fits in memory", having(counters({ logBytes: 1e9 })), "dvd", "acknowledged", /^Cached: .* 1000 MB/],
    ["no roll", having({ filesRolledInside: 0 }), "ddd", "durable", /No segment or file was rolled/],
    [
      "one sample",
      having({ responseTime: histogram(1, 100) }),
      "vvi",
      "responseTime",
      /^Only 1 sample lies beyond the p99; 100 are needed/,
    ],
    ["few samples", having({ responseTime: histogram(1, 5_000) }), "vvd", "responseTime", /Only 50 samples lie beyond/],
    [
      "too few samples",
      having({ responseTime: histogram(1, 900) }),
      "vvi",
      "responseTime",
      /Only 9 samples lie beyond/,
    ],
  ];
  it.each(cases)("%s", (_, trial, grades, figure, sentence) => {
    expect(letters(trial)).toBe(grades);
    expect(reasons(trial, figure)).toEqual([expect.stringMatching(sentence)]);
    expect(reasons(trial, figure)[0]).toMatch(/^[A-Z].*\.$/);
  });

  it("a free sync leaves nothing of what waits for one, and no durable throughput", () => {
    const free = { ...circumstances, isSyncFree: true };
    expect(letters(base, free)).toBe("viv");
    expect(letters(having({ durabilityClass: "D2" }), free)).toBe("iii");
    expect(reasons(base, "durable", free)).toEqual([expect.stringMatching(/costs nothing on this device/)]);
    expect(letters(base, { ...circumstances, isSyncFree: null })).toBe("vvv");
  });

  it("several together: the gravest grade, its reasons first", () => {
    const both = having({ steady: false, clockStepNs: 1e9 });
    expect(letters(both)).toBe("iii");
    expect(reasons(both, "durable").map((reason) => reason.slice(0, 8))).toEqual(["The wall", "The thro"]);
  });
});

describe("boundaries", () => {
  const withSteal = (stealFraction: number) => having({ samples: [{ ...sample, stealFraction }] });
  const tolerance = 10_000_000 + 500e-6 * 3e9;
  // Twice the memory and page rounding of 1 MiB; a share of 5 % of what the device wrote.
  const device = (foreign: number) => {
    const deviceWrittenBytes = (2e9 + 2 ** 20) / (1 - foreign);
    return having({ samples: [{ ...sample, deviceWrittenBytes }] });
  };
  it.each<[string, Trial, string]>([
    ["clock at its tolerance", having({ clockStepNs: tolerance }), "vvv"],
    ["clock beyond it", having({ clockStepNs: tolerance + 1 }), "iii"],
    ["steal at 2 %", withSteal(0.02), "vvv"],
    ["steal above 2 %", withSteal(0.0201), "ddd"],
    ["steal at 10 %", withSteal(0.1), "ddd"],
    ["steal above 10 %", withSteal(0.101), "iii"],
    ["backlog of 1 %", having({ sentCount: 99, backlogAtEnd: 1 }), "vvv"],
    ["backlog above 1 %", having({ sentCount: 98, backlogAtEnd: 1 }), "ddd"],
    ["backlog of 50 ms' worth", having({ sentCount: 95, backlogAtEnd: 5 }), "ddd"],
    ["backlog above 50 ms' worth", having({ sentCount: 94, backlogAtEnd: 6 }), "iii"],
    [
      "backlog of a tenth of a short interval",
      having({ sentCount: 90, backlogAtEnd: 10, acknowledged: { ...sound.acknowledged, durationNs: 1e8 } }),
      "ddd",
    ],
    [
      "backlog above a tenth of a short interval",
      having({ sentCount: 89, backlogAtEnd: 11, acknowledged: { ...sound.acknowledged, durationNs: 1e8 } }),
      "iii",
    ],
    ["lag of 0.99 ms", having({ scheduleLag: histogram(0.99e6, 1) }), "vvv"],
    ["lag of 1.01 ms", having({ scheduleLag: histogram(1.01e6, 1) }), "vvd"],
    ["others at 4.9 %", device(0.049), "vvv"],
    ["others at 5.1 %", device(0.051), "ddd"],
    ["others at 49 %", device(0.49), "ddd"],
    ["others at 51 %", device(0.51), "iii"],
    ["dirty at 5 %", having({ dirtyBytesAtEnd: 5e7 }), "vvv"],
    ["dirty above 5 %", having({ dirtyBytesAtEnd: 5.1e7 }), "dvv"],
    ["twice the memory", having(counters({ logBytes: 2e9 })), "vvv"],
    ["a byte less", having(counters({ logBytes: 2e9 - 1 })), "dvd"],
    ["100 samples beyond", having({ responseTime: histogram(1, 10_000) }), "vvv"],
    ["99 samples beyond", having({ responseTime: histogram(1, 9_999) }), "vvd"],
    ["10 samples beyond", having({ responseTime: histogram(1, 1_000) }), "vvd"],
    ["9 samples beyond", having({ responseTime: histogram(1, 999) }), "vvi"],
  ])("%s", (_, trial, grades) => expect(letters(trial)).toBe(grades));
});

describe("what explains the device's bytes", () => {
  const busy = { samples: [{ ...sample, deviceWrittenBytes: 3e9 }] };
  it("what was dirty before, and a journal's commits, are no other writer", () => {
    expect(letters(having(busy))).toBe("ddd");
    expect(letters(having({ ...busy, dirtyBytesAtStart: 1e9 }))).toBe("vvv");
    expect(letters(having({ ...busy, ...counters({ syncCalls: 1e9 / (14 * 4096) }) }))).toBe("vvv");
  });

  it("a platform that does not tell is not blamed", () => {
    expect(letters(having({ ...busy, ownDeviceBytes: null }))).toBe("vvv");
    expect(letters(having({ samples: [{ ...sample, deviceWrittenBytes: null, stealFraction: null }] }))).toBe("vvv");
    expect(letters(having({ clockStepNs: null, filesRolledInside: null, dirtyBytesAtEnd: null }))).toBe("vvv");
  });
});

describe("what does not apply", () => {
  it("another writer makes figures invalid unless the run allowed neighbours", () => {
    const disturbed = having({ samples: [{ ...sample, deviceWrittenBytes: 2.5e9 }] });
    expect(letters(disturbed, { ...circumstances, allowsNeighbours: false })).toBe("iii");
    expect(letters(disturbed, { ...circumstances, allowsNeighbours: true })).toBe("ddd");
    expect(letters(base, { ...circumstances, allowsNeighbours: false })).toBe("vvv");
  });

  it("an engine that stores nothing has no page cache, no rolls and no other writers", () => {
    const nothing = { ...verification, outcome: "not-applicable" as const };
    const spoiled = { ...counters({ logBytes: 0 }), dirtyBytesAtEnd: 9e9, filesRolledInside: 0, ownDeviceBytes: 0 };
    expect(letters(having(spoiled, { verification: nothing }))).toBe("vvv");
  });

  it("acknowledgements that wait for the device are not cached, whatever fits in memory", () => {
    expect(letters(having({ durabilityClass: "D2", dirtyBytesAtEnd: 9e9, ...counters({ logBytes: 1 }) }))).toBe("vvv");
  });

  it("one file, or files of no set size, never roll", () => {
    expect(letters(having({ filesRolledInside: 0 }, { engine: "raw" }))).toBe("vvv");
    const settings = { configuration: { ...base.configuration, settings: {} } };
    expect(letters(having({ filesRolledInside: 0 }, settings))).toBe("vvv");
  });
});

describe("a cell", () => {
  const bad = having({ clockStepNs: 1e9 });

  it("leaves invalid trials out, says so, and is doubtful for it", () => {
    expect(usableTrials([base, bad, base], "durable", circumstances)).toEqual([base, base]);
    const { durable } = gradeCell([base, bad, base], circumstances);
    expect(durable.grade).toBe("doubtful");
    expect(texts(durable)).toEqual([
      "1 of 3 trials were invalid and are left out.",
      expect.stringMatching(/came apart by 1000 ms .* \(in 1 of 3 trials\)\.$/),
    ]);
  });

  it("is invalid when no trial is left, and says why", () => {
    const { durable } = gradeCell([bad, bad], circumstances);
    expect([durable.grade, ...texts(durable)]).toEqual(["invalid", expect.stringMatching(/came apart by 1000 ms/)]);
    expect(gradeCell([], circumstances).durable.grade).toBe("invalid");
  });

  it("names the gravest of equal reasons once", () => {
    const stolen = (stealFraction: number) => having({ samples: [{ ...sample, stealFraction }] });
    expect(texts(gradeCell([stolen(0.03), stolen(0.08)], circumstances).durable)).toEqual([
      "The hypervisor withheld 8 % of the processors' time.",
    ]);
    const wrote = (logBytes: number) => having(counters({ logBytes }));
    expect(texts(gradeCell([wrote(2e8), wrote(1e8), wrote(3e8)], circumstances).acknowledged)).toEqual([
      expect.stringMatching(/^Cached: the trial wrote 100 MB/),
    ]);
  });

  it("counts the samples of all its trials", () => {
    const few = having({ responseTime: histogram(1, 5_000) });
    expect(gradeCell([few], circumstances).responseTime.grade).toBe("doubtful");
    expect(gradeCell([few, few], circumstances).responseTime.grade).toBe("valid");
  });

  it("is doubtful where its limit drifted by more than 10 %", () => {
    expect(gradeCell([base], circumstances, 0.1).durable.grade).toBe("valid");
    const { durable } = gradeCell([base], circumstances, -0.11);
    expect([durable.grade, ...texts(durable)]).toEqual([
      "doubtful",
      expect.stringMatching(/changed by −11 % from before/),
    ]);
  });
});
