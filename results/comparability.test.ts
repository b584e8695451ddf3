import { expect, it } from "vitest";
import { machineDifferences } from "./comparability.js";
import type { Environment } from "./schema.js";

const environment: Environment = {
  fingerprint: "f",
  platform: "linux x64",
  kernel: "6.8",
  distribution: "d",
  cpu: { model: "m", logicalCores: 2, governor: "performance", turbo: null, siblings: null, quota: null },
  memoryBytes: 8 * 2 ** 30,
  memoryLimitBytes: null,
  node: { version: "20.1.0", v8: "11", uv: "1", threadPoolSize: 16, flags: [] },
  device: {
    name: "vda",
    model: null,
    rotational: false,
    scheduler: "none",
    writeCache: "write back",
    fua: false,
    queueDepth: 256,
  },
  filesystem: { type: "ext4", mountPoint: "/", mountOptions: "rw", sizeBytes: 1e11, freeBytes: 5e10 },
  dirtySettings: { dirty_ratio: 20 },
  loadAverage: [0, 0, 0],
  checksumProviders: {},
  notPossible: [],
  notes: [],
};

it("finds no difference in what varies from boot to boot", () => {
  const { cpu, filesystem } = environment;
  const later: Environment = {
    ...environment,
    loadAverage: [9, 9, 9],
    memoryBytes: environment.memoryBytes - 4096,
    cpu: { ...cpu, governor: "powersave" },
    filesystem: { ...filesystem, freeBytes: 1 },
  };
  expect(machineDifferences(environment, later)).toEqual([]);
});

it("names what differs, with both sides", () => {
  const { cpu, node } = environment;
  const other: Environment = {
    ...environment,
    kernel: "6.9",
    cpu: { ...cpu, logicalCores: 4 },
    node: { ...node, version: "22.0.0" },
    device: { ...environment.device, model: "Drive" },
    dirtySettings: { dirty_ratio: 40 },
  };
  expect(machineDifferences(environment, other)).toEqual([
    "kernel 6.8 against 6.9",
    "logical cores 2 against 4",
    "Node version 20.1.0 against 22.0.0",
    expect.stringMatching(/^device .*"model":null.* against .*"model":"Drive"/),
    'dirty page settings {"dirty_ratio":20} against {"dirty_ratio":40}',
  ]);
});
