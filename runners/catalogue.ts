import { readdirSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { UsageError } from "../engines/command-line.js";
import type { EngineDefinition } from "../engines/engine.js";
import { printable } from "../engines/printable.js";
import { engineNames, loadEngine } from "../engines/registry.js";
import type { Contestant } from "./plan.js";
import type { Profile, ProfileName, Scenario } from "./scenario.js";

const EXIT_USAGE = 2;

const SCENARIOS = new URL("../scenarios/", import.meta.url);
/** Modules of the scenarios' folder that declare something else. */
const OTHER_MODULES = new Set(["profiles.js", "claims.js"]);

/** Every scenario there is, by file name: runners name none of them. */
export async function loadScenarios(): Promise<Scenario[]> {
  const names = readdirSync(SCENARIOS).filter(
    (name) => name.endsWith(".js") && !name.endsWith(".test.js") && !OTHER_MODULES.has(name),
  );
  return Promise.all(
    names.sort().map(async (name) => {
      const module: { default: Scenario } = await import(new URL(name, SCENARIOS).href);
      return module.default;
    }),
  );
}

export async function loadProfiles(): Promise<Record<ProfileName, Profile>> {
  const module: { default: Record<ProfileName, Profile> } = await import(new URL("profiles.js", SCENARIOS).href);
  return module.default;
}

/** @throws UsageError that lists the scenarios there are, or the profiles that have the one asked for */
export function chooseScenarios(
  all: readonly Scenario[],
  ids: readonly string[] | null,
  profileName: ProfileName,
): Scenario[] {
  if (ids === null) return [...all];
  return [...new Set(ids)].map((id) => {
    const scenario = all.find((candidate) => candidate.id === id);
    if (scenario === undefined) {
      throw new UsageError(
        `There is no scenario called ${JSON.stringify(id)}; there are ${all.map((one) => one.id).join(", ")}.`,
      );
    }
    const { profiles } = scenario;
    if (profiles?.includes(profileName) === false) {
      throw new UsageError(
        `Scenario ${id} is not in profile ${profileName}; give --profile ${profiles.join(" or --profile ")}, or leave it out of --scenario.`,
      );
    }
    return scenario;
  });
}

/** Loads the engines by name or path, or all of the project's own. @throws UsageError, EngineLoadError */
export async function loadContestants(namesOrPaths: readonly string[] | null): Promise<Contestant[]> {
  return Promise.all(
    [...new Set(namesOrPaths ?? engineNames())].map(async (source) => {
      const isThirdParty = !engineNames().includes(source);
      const isPath = isThirdParty && !isAbsolute(source) && !source.startsWith("file:");
      const definition = await loadOrBlame(source);
      return { definition, isThirdParty, source: isPath ? resolve(source) : source };
    }),
  );
}

/** A third party's module may end the process while it is imported, or never finish: then at least its name is told. */
async function loadOrBlame(source: string): Promise<EngineDefinition> {
  const blame = () => {
    console.error(
      `The engine module ${printable(source)} ended the process when it was imported, or never finished loading.`,
    );
    process.exitCode = EXIT_USAGE;
  };
  process.once("exit", blame);
  try {
    return await loadEngine(source);
  } finally {
    process.off("exit", blame);
  }
}
