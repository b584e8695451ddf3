import { type ConformanceTraits, type ConformanceVariant, describeConformance } from "./engine.contract.js";
import { engineNames, loadEngine } from "./registry.js";

const TRAITS: Readonly<Record<string, ConformanceTraits>> = {
  "partitioned-log": {
    smallFiles: { segmentSizeBytes: 8_192, indexIntervalBytes: 512 },
    rollsFiles: true,
    refusesWhenFull: true,
    hasChecksums: true,
    hasTags: false,
  },
  commitlog: {
    smallFiles: { segmentSizeBytes: 8_192, consumequeueFileSizeBytes: 400 },
    rollsFiles: true,
    refusesWhenFull: true,
    hasChecksums: true,
    hasTags: true,
  },
  raw: {
    smallFiles: { segmentSizeBytes: 8_192, preallocate: true },
    rollsFiles: false,
    refusesWhenFull: false,
    hasChecksums: false,
    hasTags: false,
  },
};

/** Each of an engine's choices that is not its default. */
const VARIANTS: Readonly<Record<string, readonly (ConformanceVariant & Partial<ConformanceTraits>)[]>> = {
  "partitioned-log": [{ name: "no checksum", settings: { checksum: false }, hasChecksums: false }],
};

const definitions = await Promise.all(engineNames().map((name) => loadEngine(name)));
for (const definition of definitions) {
  if (!definition.storesMessages) continue;
  const traits = TRAITS[definition.name]!;
  describeConformance(definition, traits);
  for (const variant of VARIANTS[definition.name] ?? []) {
    describeConformance(definition, { ...traits, ...variant }, variant);
  }
}
