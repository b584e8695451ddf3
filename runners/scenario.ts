import { z } from "zod";
import { messagesSchema } from "../results/schema.js";

/**
 * A scenario is data: one question, the load that answers it, and what would refute the expectation. It names engines
 * and their settings and knows nothing of their insides.
 */
const profileNameSchema = z.enum(["smoke", "quick", "full"]);

const axisSchema = z.strictObject({
  /** Dotted path of what varies: `topology.partitionsPerTopic`, `settings.flush`, `load.inFlight`, … */
  path: z.string().regex(/^(topology|messages|settings|load)\.[A-Za-z]+$/),
  label: z.string(),
  /** Every profile names its own values; the first of them is the axis's base. */
  values: z.record(profileNameSchema, z.array(z.json()).min(1)),
});

const settingsSchema = z.record(z.string(), z.json());

export const scenarioSchema = z.strictObject({
  id: z.string().regex(/^[a-z][a-z0-9-]*$/),
  title: z.string(),
  question: z.string(),
  /** What one expects to see, and why. */
  expectation: z.string(),
  refutedIf: z.string(),
  /** The figure that the answer compares between engines. */
  figure: z.enum(["acknowledged", "durable", "responseTime"]),
  engines: z.array(z.string()).min(1),
  /** Those whose time it needs; the others leave it out. Absent: all. */
  profiles: z.array(profileNameSchema).min(1).optional(),
  /** Run at every point where the axis matters to them; `null` is the harness's ceiling, `raw` the disk's. */
  baselines: z.array(z.string()),
  topology: z.strictObject({ topicCount: z.int().positive(), partitionsPerTopic: z.int().positive() }),
  /** Sizes, keys and compressibility (results/schema.ts). */
  messages: messagesSchema.omit({ payloadFile: true }),
  /** Settings common to all engines (see the vocabulary in engines/README.md). */
  settings: settingsSchema,
  /** Settings for one engine only. */
  engineSettings: z.record(z.string(), settingsSchema).default({}),
  load: z.strictObject({
    /** Closed loop: messages sent and not yet acknowledged, of all producers together. */
    inFlight: z.int().positive(),
    producers: z.int().positive().default(1),
    /**
     * Open-loop trials that follow, at fractions of the measured capacity of the same engine and point: every profile names
     * its own, and which arrivals each of them is run with.
     */
    open: z
      .strictObject({
        capacityFractions: z.record(profileNameSchema, z.array(z.number().positive().max(1.5)).min(1)),
        arrivals: z.record(profileNameSchema, z.array(z.enum(["constant", "poisson"])).min(1)),
      })
      .optional(),
  }),
  vary: z.array(axisSchema).max(3),
});

/** How long and how often to measure: the same for every scenario. */
const profileSchema = z.strictObject({
  description: z.string(),
  /** Trials of every engine at every point, and of every open-loop rate. */
  repetitions: z.int().positive(),
  warmup: z.strictObject({
    minimumMs: z.number().positive(),
    /** Where the throughput is not steady by then, measuring begins all the same and the result says so. */
    maximumMs: z.number().positive(),
    /** The steady-state test looks at `windowBins` successive intervals of this length. */
    binMs: z.number().positive(),
    windowBins: z.int().min(3),
    /** Payload sent at most. */
    maximumBytes: z.int().positive(),
  }),
  measureMs: z.number().positive(),
  /**
   * Where acknowledgements wait for a sync: the percentile that each trial is measured long enough for, by the rate that the
   * probe promises, and for how long at most. Absent: `measureMs` for all.
   */
  syncMeasure: z.strictObject({ percentile: z.number().min(50).lt(100), maximumMs: z.number().positive() }).optional(),
  /** Whether the limits of only the first scenario are measured again after all trials, for want of time. */
  limitsAfter: z.enum(["every", "first"]).optional(),
  /** Payload sent at most in the measured interval, which ends then: bounds the disk space that a run needs. */
  maximumBytes: z.int().positive(),
  sampleIntervalMs: z.number().positive(),
  /** Longest wait for the kernel to have written back what was dirty before a trial. */
  settleMs: z.number().positive(),
  /** A trial's process that has not ended by then is killed. */
  trialLimitMs: z.number().positive(),
  /** Of the whole run, probes and reports included: repetitions that do not fit are made where they tell most; null: no limit. */
  budgetMs: z.number().positive().nullable(),
  /** Of each of the device probe's measurements; the size is that of the files it writes. */
  probe: z.strictObject({ durationMs: z.number().positive(), fileSizeBytes: z.int().positive() }),
  /** Settings of all engines, where the scenario names none: files that suit the size of the trials. */
  settings: settingsSchema,
});

const profilesSchema = z.record(profileNameSchema, profileSchema);

export type ProfileName = z.infer<typeof profileNameSchema>;
export type Profile = z.infer<typeof profileSchema>;
export type Scenario = z.infer<typeof scenarioSchema>;
export type Axis = z.infer<typeof axisSchema>;

/** Checks a scenario where it is declared. @throws ZodError naming the unknown or wrong key */
export function defineScenario(scenario: z.input<typeof scenarioSchema>): Scenario {
  return scenarioSchema.parse(scenario);
}

/** Checks the profiles where they are declared. @throws ZodError naming the unknown or wrong key */
export function defineProfiles(profiles: z.input<typeof profilesSchema>): Record<ProfileName, Profile> {
  return profilesSchema.parse(profiles);
}
