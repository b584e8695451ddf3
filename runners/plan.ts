import { createHash } from "node:crypto";
import type { EngineDefinition } from "../engines/engine.js";
import { seededRandom, shuffle } from "../results/random.js";
import { type Configuration, messagesSchema, type ScenarioRecord } from "../results/schema.js";
import type { Axis, Profile, ProfileName, Scenario } from "./scenario.js";

type Scalar = string | number | boolean;

/** A scenario, a profile and an engine do not go together; the message says where. */
export class PlanError extends Error {
  override name = "PlanError";
}

/** An engine that takes part in the run. */
export interface Contestant {
  readonly definition: EngineDefinition;
  /** What `loadEngine` takes: a name, or the absolute path of a third party's module. */
  readonly source: string;
  /** Whether the scenarios name it or it came from outside, and so runs in all of them. */
  readonly isThirdParty: boolean;
}

/** An open load's rate is known only once the closed-loop trials of the same engine and point have run. */
type PlannedLoad =
  | { readonly model: "closed"; readonly inFlight: number; readonly producers: number }
  | {
      readonly model: "open";
      readonly capacityFraction: number;
      readonly arrivals: "constant" | "poisson";
      readonly inFlight: number;
      readonly producers: number;
    };

export interface PlannedTrial {
  readonly trialId: string;
  readonly scenarioId: string;
  readonly engine: string;
  readonly source: string;
  /** Of the engine: false means that it needs no disk space. */
  readonly storesMessages: boolean;
  readonly point: Readonly<Record<string, Scalar>>;
  readonly repetition: number;
  readonly order: number;
  readonly seed: number;
  readonly configuration: Omit<Configuration, "load">;
  readonly load: PlannedLoad;
}

export interface Plan {
  readonly trials: readonly PlannedTrial[];
  readonly scenarios: readonly ScenarioRecord[];
}

/** A user's file of values, as the configuration names it. */
export type PayloadChoice = Pick<Configuration["messages"], "payloadFile" | "sizeBytes">;

/** What a user's file of values decides. */
const SHAPING_AXES = ["messages.sizeBytes", "messages.sizes", "messages.compressibleFraction"];
/** What varies that a baseline notices; at the other axes it runs at the first value only. */
const BASELINE_AXES: Readonly<Record<string, readonly string[]>> = {
  null: ["load"],
  raw: ["load", "messages", "settings"],
};
/** Open load: a bound far above what is in flight unless the engine falls behind. */
const OPEN_IN_FLIGHT = 65_536;

/**
 * Expands scenarios into trials. All repetitions of closed loops come first, because the open loops need their
 * capacities. Each repetition is a block: everything compared once, in an order of its own, so that a machine that
 * drifts hits all alike.
 * @throws PlanError
 */
export function planRun(options: {
  scenarios: readonly Scenario[];
  contestants: readonly Contestant[];
  profileName: ProfileName;
  profile: Profile;
  seed: number;
  /** Values of the user's own instead of the scenarios'. */
  payload?: PayloadChoice;
}): Plan {
  const { scenarios, contestants, profileName, profile, seed, payload } = options;
  if (payload !== undefined) for (const scenario of scenarios) requireOwnPayload(scenario);
  const taking = scenarios.map((scenario) => ({ scenario, ...select(scenario, contestants) }));
  const cells = taking.flatMap(({ scenario, engines, baselines }) => [
    ...engines.flatMap((engine) => cellsOf({ scenario, isBaseline: false, profileName, profile, payload }, engine)),
    ...baselines.flatMap((engine) => cellsOf({ scenario, isBaseline: true, profileName, profile, payload }, engine)),
  ]);
  const random = seededRandom(seed);
  const trials: PlannedTrial[] = [];
  for (const model of ["closed", "open"]) {
    const chosen = cells.filter(({ load }) => load.model === model);
    for (let repetition = 0; repetition < profile.repetitions; repetition++) {
      for (const cell of shuffle([...chosen], random)) {
        const order = trials.length;
        const { name, ...rest } = cell;
        const trialId = `${name}/${repetition}`;
        trials.push({ ...rest, trialId, repetition, order, seed: trialSeed(seed, cell, repetition) });
      }
    }
  }
  const records = taking.map(({ scenario, engines, baselines }) => recordOf(scenario, engines, baselines, profileName));
  return { trials, scenarios: records.filter(({ engines, baselines }) => engines.length + baselines.length > 0) };
}

interface Cell extends Omit<PlannedTrial, "trialId" | "repetition" | "order" | "seed"> {
  readonly name: string;
}

function select(scenario: Scenario, contestants: readonly Contestant[]) {
  const isBaseline = ({ definition }: Contestant) => scenario.baselines.includes(definition.name);
  const isEngine = ({ definition, isThirdParty }: Contestant) =>
    isThirdParty || scenario.engines.includes(definition.name);
  return { engines: contestants.filter(isEngine), baselines: contestants.filter(isBaseline) };
}

/** What all cells of a scenario's engines, or of its baselines, have in common. */
interface CellRules {
  readonly scenario: Scenario;
  readonly isBaseline: boolean;
  readonly profileName: ProfileName;
  readonly profile: Profile;
  readonly payload: PayloadChoice | undefined;
}

/** A user's file decides the values, so what varies or shapes them has no say. @throws PlanError */
function requireOwnPayload({ id, vary }: Scenario): void {
  const shaping = vary.find(({ path }) => SHAPING_AXES.includes(path));
  if (shaping === undefined) return;
  throw new PlanError(`Scenario ${id} varies ${shaping.path}, which --payload decides: leave it out with --scenario.`);
}

function cellsOf(rules: CellRules, { definition, source }: Contestant): Cell[] {
  const { scenario, isBaseline, profileName } = rules;
  const noticed = isBaseline ? (BASELINE_AXES[definition.name] ?? []) : null;
  return pointsOf(scenario.vary, profileName, noticed).flatMap((point) => {
    const configured = configure(rules, definition, point);
    const labels = Object.fromEntries([...point].map(([path, value]) => [path, label(value)]));
    const { inFlight: closedInFlight, producers } = configured;
    const loads: PlannedLoad[] = [{ model: "closed", inFlight: closedInFlight, producers }];
    if (!isBaseline && scenario.load.open !== undefined) {
      const { capacityFractions, arrivals } = scenario.load.open;
      const inFlight = Math.max(OPEN_IN_FLIGHT, closedInFlight);
      for (const capacityFraction of capacityFractions) {
        loads.push({ model: "open", capacityFraction, arrivals, inFlight, producers });
      }
    }
    return loads.map((load) => ({
      name: [scenario.id, definition.name, ...Object.values(labels), loadName(load)].join("/"),
      scenarioId: scenario.id,
      engine: definition.name,
      source,
      storesMessages: definition.storesMessages,
      point: labels,
      configuration: configured.configuration,
      load,
    }));
  });
}

/** The product of the axes' values; of axes that are not among `noticed`, the first value only. */
function pointsOf(
  axes: readonly Axis[],
  profileName: ProfileName,
  noticed: readonly string[] | null,
): Map<string, unknown>[] {
  let points: Map<string, unknown>[] = [new Map()];
  for (const axis of axes) {
    const isNoticed = noticed === null || noticed.includes(axis.path.split(".")[0]!);
    const values = isNoticed ? axis.values[profileName] : axis.values[profileName].slice(0, 1);
    points = points.flatMap((point) => values.map((value) => new Map([...point, [axis.path, value]])));
  }
  return points;
}

function configure(
  { scenario, isBaseline, profile, payload }: CellRules,
  definition: EngineDefinition,
  point: Map<string, unknown>,
): { configuration: Omit<Configuration, "load">; inFlight: number; producers: number } {
  const parts: Record<string, Record<string, unknown>> = {
    topology: { ...scenario.topology },
    messages: { ...scenario.messages, ...payload },
    settings: { ...profile.settings, ...scenario.settings, ...scenario.engineSettings[definition.name] },
    load: { inFlight: scenario.load.inFlight, producers: scenario.load.producers },
  };
  for (const [path, value] of point) {
    const [part, field] = path.split(".") as [string, string];
    parts[part]![field] = value;
  }
  const settings = definition.settingsSchema.safeParse(parts.settings);
  if (!settings.success) {
    const { path, message } = settings.error.issues[0]!;
    const where = path.length === 0 ? "" : ` at ${path.join(".")}`;
    throw new PlanError(`Scenario ${scenario.id} does not fit engine ${definition.name}${where}: ${message}.`);
  }
  const topology = parts.topology as Configuration["topology"];
  const messages = messagesSchema.safeParse(parts.messages);
  if (!messages.success) {
    const { path, message } = messages.error.issues[0]!;
    throw new PlanError(`Scenario ${scenario.id} is wrong at messages.${path.join(".")}: ${message}.`);
  }
  const { inFlight, producers } = parts.load as { inFlight: number; producers: number };
  if (producers > inFlight) {
    throw new PlanError(`Scenario ${scenario.id} shares ${inFlight} messages in flight among ${producers} producers.`);
  }
  return {
    configuration: {
      topology,
      messages: isBaseline ? withoutKeys(messages.data) : messages.data,
      settings: settings.data,
    },
    inFlight,
    producers,
  };
}

/** The limits are those of values: baselines have neither keys nor partitions to choose. */
function withoutKeys(messages: Configuration["messages"]): Configuration["messages"] {
  return { ...messages, keys: "round-robin" };
}

function recordOf(
  scenario: Scenario,
  engines: readonly Contestant[],
  baselines: readonly Contestant[],
  profileName: ProfileName,
): ScenarioRecord {
  const { id, title, question, expectation, refutedIf, figure } = scenario;
  return {
    id,
    title,
    question,
    expectation,
    refutedIf,
    figure,
    engines: engines.map(({ definition }) => definition.name),
    baselines: baselines.map(({ definition }) => definition.name),
    axes: scenario.vary.map(({ path, label: name, values }) => ({
      path,
      label: name,
      values: values[profileName].map(label),
    })),
  };
}

/** `{ every: { ms: 500 } }` → `every 500 ms`: an axis's value as reports show and compare it. */
function label(value: unknown): Scalar {
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "string") return value;
  const words = (part: unknown): string =>
    part !== null && typeof part === "object"
      ? Object.entries(part)
          .map(([key, inner]) => (typeof inner === "object" ? `${key} ${words(inner)}` : `${inner} ${key}`))
          .join(", ")
      : String(part);
  return words(value);
}

function loadName(load: PlannedLoad): string {
  return load.model === "closed" ? "closed" : `open-${load.capacityFraction}`;
}

/** Equal for all engines at one point and repetition, so that they are sent the same bytes at the same moments. */
function trialSeed(seed: number, cell: Cell, repetition: number): number {
  const text = JSON.stringify([seed, cell.scenarioId, cell.point, loadName(cell.load), repetition]);
  return createHash("sha256").update(text).digest().readUInt32BE(0);
}
