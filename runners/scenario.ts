import { z } from "zod";

/**
 * A scenario is data: one question, the load that answers it, and what would refute the expectation. It names engines
 * and their settings and knows nothing of their insides.
 */
const profileSchema = z.enum(["smoke", "quick", "full"]);

const axisSchema = z.strictObject({
  /** Dotted path of what varies: `topology.partitionsPerTopic`, `settings.flush`, `load.inFlight`, … */
  path: z.string().regex(/^(topology|messages|settings|load)\.[A-Za-z]+$/),
  label: z.string(),
  /** Every profile names its own values; the first of them is the axis's base. */
  values: z.record(profileSchema, z.array(z.json()).min(1)),
});

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
  /** Run at every point where the axis matters to them; `null` is the harness's ceiling, `raw` the disk's. */
  baselines: z.array(z.string()),
  topology: z.strictObject({ topicCount: z.int().positive(), partitionsPerTopic: z.int().positive() }),
  messages: z.strictObject({ sizeBytes: z.int().positive(), compressibleFraction: z.number().min(0).max(1) }),
  /** Settings common to all engines (see the vocabulary in engines/README.md). */
  settings: z.record(z.string(), z.json()),
  /** Settings for one engine only. */
  engineSettings: z.record(z.string(), z.record(z.string(), z.json())).default({}),
  load: z.strictObject({
    /** Closed loop: messages sent and not yet acknowledged. */
    inFlight: z.int().positive(),
    /** Open-loop trials that follow, at fractions of the measured capacity of the same engine and point. */
    open: z
      .strictObject({
        capacityFractions: z.array(z.number().positive().max(1.5)).min(1),
        arrivals: z.enum(["constant", "poisson"]),
      })
      .optional(),
  }),
  vary: z.array(axisSchema).max(3),
});

export type Profile = z.infer<typeof profileSchema>;
export type Scenario = z.infer<typeof scenarioSchema>;

/** Checks a scenario where it is declared. @throws ZodError naming the unknown or wrong key */
export function defineScenario(scenario: z.input<typeof scenarioSchema>): Scenario {
  return scenarioSchema.parse(scenario);
}
