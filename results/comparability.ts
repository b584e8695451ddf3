/** What makes figures of two machines incomparable: pure, over the stored environments. */
import type { Environment } from "./schema.js";

/** The kernel keeps a little memory for itself that varies from boot to boot. */
const MEMORY_GRAIN_BYTES = 2 ** 28;

/**
 * What a fingerprint is made of, by name: the same after a reboot and at any clock rate, different on another machine,
 * device, filesystem, kernel, Node or limits of the page cache.
 */
export function machineIdentity(environment: Omit<Environment, "fingerprint">): Record<string, unknown> {
  const { platform, kernel, cpu, memoryBytes, memoryLimitBytes, node, device, filesystem, dirtySettings } = environment;
  return {
    platform,
    kernel,
    // Some models carry their nominal clock rate in the name; it is part of the model and does not vary.
    processor: cpu.model,
    "logical cores": cpu.logicalCores,
    "memory in steps of 256 MiB": Math.round(memoryBytes / MEMORY_GRAIN_BYTES),
    "memory limit": memoryLimitBytes,
    "Node version": node.version,
    "Node settings": node.flags,
    device,
    filesystem: filesystem.type,
    "mount options": filesystem.mountOptions,
    "filesystem size": filesystem.sizeBytes,
    "dirty page settings": dirtySettings,
  };
}

/** "kernel 6.8 against 6.9", one for each part of the identity that differs. */
export function machineDifferences(first: Environment, second: Environment): string[] {
  const [left, right] = [machineIdentity(first), machineIdentity(second)];
  return Object.keys(left).flatMap((name) => {
    const [a, b] = [left[name], right[name]].map((part) => (typeof part === "string" ? part : JSON.stringify(part)));
    return a === b ? [] : [`${name} ${a} against ${b}`];
  });
}
