import { createHash } from "node:crypto";
import type { EngineDefinition } from "../engines/engine.js";
import { seededRandom, shuffle } from "../results/random.js";
import {
  type Configuration,
  messagesSchema,
  type PlannedLoad,
  type ScenarioRecord,
  type Trial,
} from "../results/schema.js";
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

export interface PlannedTrial {
  readonly trialId: string;
  readonly scenarioId: string;
  readonly engine: string;
  readonly source: string;
  /** Of the engine: false means that it needs no disk space. */
  readonly storesMessages: boolean;
  readonly point: Readonly<Record<string, Scalar>>;
  readonly repetition: number;
  /** Limits run before everything that they limit, and again after it, where the profile has time for that. */
  readonly phase: Trial["phase"];
  /** Of a baseline: the engines whose sizes and flush policy it has. */
  readonly limits: readonly string[] | null;
  /** In the plan; with a budget, trials that are not in it come between. */
  readonly order: number;
  readonly seed: number;
  readonly configuration: Omit<Configuration, "load">;
  readonly load: Readonly<PlannedLoad>;
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
  null: ["load", "messages"],
  raw: ["load", "messages", "settings"],
};
/** A limit has these of the engine that it limits, where that engine knows the word and the limit takes any. */
const LIMITING_SETTINGS = ["flush", "batchSizeBytes", "lingerMs"];
/** Of the repetitions, what share a limit runs each time: before the engines' trials, and again after them. */
const LIMIT_REPETITIONS = 1 / 3;
/** Open load: a bound far above what is in flight unless the engine falls behind. */
const OPEN_IN_FLIGHT = 65_536;

/**
 * Expands scenarios into trials: the limits, all repetitions of closed loops, the open loops (which need the capacities of
 * the closed ones), the limits again. Each repetition is a block: everything compared once, in an order of its own, so
 * that a machine that drifts hits all alike; what it drifts by as a whole the limits measured twice show.
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
  const { contestants, profileName, profile, seed, payload } = options;
  const scenarios = options.scenarios.filter(({ profiles }) => profiles?.includes(profileName) ?? true);
  if (payload !== undefined) for (const scenario of scenarios) requireOwnPayload(scenario);
  const taking = scenarios.map((scenario) => ({ scenario, ...select(scenario, contestants) }));
  const rulesOf = (scenario: Scenario): CellRules => ({ scenario, profileName, profile, payload });
  const cells = taking.flatMap(({ scenario, engines }) =>
    engines.flatMap((engine) => cellsOf(rulesOf(scenario), engine)),
  );
  const limits = taking.flatMap(({ scenario, engines, baselines }) =>
    baselines.flatMap((baseline) => limitsOf(rulesOf(scenario), baseline, engines)),
  );
  const random = seededRandom(seed);
  const trials: PlannedTrial[] = [];
  const addBlocks = (chosen: readonly Cell[], phase: Trial["phase"], from: number, count: number) => {
    for (let repetition = from; repetition < from + count; repetition++) {
      for (const cell of shuffle([...chosen], random)) {
        trials.push(plannedTrial(cell, phase, repetition, trials.length, seed));
      }
    }
  };
  const around = Math.ceil(profile.repetitions * LIMIT_REPETITIONS);
  addBlocks(limits, "before", 0, around);
  for (const model of ["closed", "open"]) {
    const chosen = cells.filter(({ load }) => load.model === model);
    addBlocks(chosen, "trials", 0, profile.repetitions);
  }
  const isAgain = ({ scenarioId }: Cell) => profile.limitsAfter !== "first" || scenarioId === limits[0]!.scenarioId;
  addBlocks(limits.filter(isAgain), "after", around, around);
  const records = taking.map(({ scenario, engines, baselines }) => recordOf(scenario, engines, baselines, profileName));
  return { trials, scenarios: records.filter(({ engines, baselines }) => engines.length + baselines.length > 0) };
}

/** The same trial as another repetition. */
export function repeated(trial: PlannedTrial, repetition: number, seed: number): PlannedTrial {
  return plannedTrial({ ...trial, name: cellName(trial) }, trial.phase, repetition, trial.order, seed);
}

/** Equal for the repetitions of one engine at one point under one load. */
export function cellName({ trialId }: Pick<PlannedTrial, "trialId">): string {
  return trialId.slice(0, trialId.lastIndexOf("/"));
}

function plannedTrial(
  cell: Cell,
  phase: Trial["phase"],
  repetition: number,
  order: number,
  seed: number,
): PlannedTrial {
  const { name, ...rest } = cell;
  return {
    ...rest,
    trialId: `${name}/${repetition}`,
    phase,
    repetition,
    order,
    seed: trialSeed(seed, cell, repetition),
  };
}

interface Cell extends Omit<PlannedTrial, "trialId" | "phase" | "repetition" | "order" | "seed"> {
  readonly name: string;
}

function select(scenario: Scenario, contestants: readonly Contestant[]) {
  const isBaseline = ({ definition }: Contestant) => scenario.baselines.includes(definition.name);
  const isEngine = ({ definition, isThirdParty }: Contestant) =>
    isThirdParty || scenario.engines.includes(definition.name);
  return { engines: contestants.filter(isEngine), baselines: contestants.filter(isBaseline) };
}

/** What all cells of a scenario have in common. */
interface CellRules {
  readonly scenario: Scenario;
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
  const { scenario, profileName } = rules;
  return pointsOf(scenario.vary, profileName, null).flatMap((point) => {
    const configured = configure(rules, definition, point);
    const labels = labelsOf(point);
    const { inFlight: closedInFlight, producers } = configured;
    const loads: PlannedLoad[] = [{ model: "closed", inFlight: closedInFlight, producers }];
    if (scenario.load.open !== undefined) {
      const { capacityFractions, arrivals } = scenario.load.open;
      const inFlight = Math.max(OPEN_IN_FLIGHT, closedInFlight);
      for (const capacityFraction of capacityFractions[profileName]) {
        for (const each of arrivals[profileName]) {
          loads.push({ model: "open", capacityFraction, arrivals: each, inFlight, producers });
        }
      }
    }
    return loads.map((load) => ({
      name: [scenario.id, definition.name, ...Object.values(labels), loadName(load)].join("/"),
      scenarioId: scenario.id,
      engine: definition.name,
      source,
      storesMessages: definition.storesMessages,
      limits: null,
      point: labels,
      configuration: configured.configuration,
      load,
    }));
  });
}

/** A baseline at every point that it notices, once for each size of batch, linger and flush policy of the engines there. */
function limitsOf(rules: CellRules, { definition, source }: Contestant, engines: readonly Contestant[]): Cell[] {
  const { scenario, profileName } = rules;
  const noticed = BASELINE_AXES[definition.name] ?? [];
  return pointsOf(scenario.vary, profileName, noticed).flatMap((point) => {
    const labels = labelsOf(point);
    const variants = new Map<string, { configured: Configured; limits: string[] }>();
    for (const engine of engines) {
      const { settings } = configure(rules, engine.definition, point).configuration;
      const limiting = noticed.includes("settings")
        ? Object.fromEntries(LIMITING_SETTINGS.filter((word) => word in settings).map((word) => [word, settings[word]]))
        : {};
      const configured = configure(rules, definition, point, limiting);
      const key = JSON.stringify(configured);
      const variant = variants.get(key) ?? { configured, limits: [] };
      variant.limits.push(engine.definition.name);
      variants.set(key, variant);
    }
    if (engines.length === 0) variants.set("", { configured: configure(rules, definition, point, {}), limits: [] });
    return [...variants.values()].map(({ configured, limits }) => {
      const { configuration, inFlight, producers } = configured;
      const load: PlannedLoad = { model: "closed", inFlight, producers };
      const as = variants.size > 1 ? [`as ${limits.join(" and ")}`] : [];
      return {
        name: [scenario.id, definition.name, ...as, ...Object.values(labels), loadName(load)].join("/"),
        scenarioId: scenario.id,
        engine: definition.name,
        source,
        storesMessages: definition.storesMessages,
        limits,
        point: labels,
        configuration,
        load,
      };
    });
  });
}

function labelsOf(point: Map<string, unknown>): Record<string, Scalar> {
  return Object.fromEntries([...point].map(([path, value]) => [path, label(value)]));
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

interface Configured {
  readonly configuration: Omit<Configuration, "load">;
  readonly inFlight: number;
  readonly producers: number;
}

/** @param limiting of a baseline: settings of the engine that it limits, which go before all others; else null */
function configure(
  { scenario, profile, payload }: CellRules,
  definition: EngineDefinition,
  point: Map<string, unknown>,
  limiting: Readonly<Record<string, unknown>> | null = null,
): Configured {
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
  Object.assign(parts.settings!, limiting);
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
      messages: limiting === null ? messages.data : withoutKeys(messages.data),
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
  return load.model === "closed" ? "closed" : `open-${load.capacityFraction}-${load.arrivals}`;
}

/** Equal for all engines at one point and repetition, so that they are sent the same bytes at the same moments. */
function trialSeed(seed: number, cell: Pick<Cell, "scenarioId" | "point" | "load">, repetition: number): number {
  const text = JSON.stringify([seed, cell.scenarioId, cell.point, loadName(cell.load), repetition]);
  return createHash("sha256").update(text).digest().readUInt32BE(0);
}
