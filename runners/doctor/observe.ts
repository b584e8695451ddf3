/** Looks at the machine; reads only. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import systeminformation from "systeminformation";
import { otherDataDirectories } from "../data-directory.js";
import { describeEnvironment } from "../environment.js";
import { parseMemory } from "../kernel-counters.js";
import { findMount } from "../mount.js";
import { listenFor } from "../neighbours.js";
import { trialPinning } from "../pinning.js";
import type { Observation } from "./diagnose.js";

/** Long enough that a cron job's start or a single flush of the kernel does not pass for a neighbour. */
const LISTEN_MS = 3_000;
const BUSIEST = 3;
/** Share of one processor below which a process is not worth naming. */
const WORTH_NAMING = 0.05;
/** How each tool answers quickly. */
const TOOLS: Readonly<Record<string, readonly string[]>> = {
  fio: ["--version"],
  java: ["-version"],
  mvn: ["--version"],
};

/** @param directory an existing one */
export async function observe(directory: string): Promise<Observation> {
  const mount = await findMount(directory);
  const [neighbours, missingTools] = [await listen(mount.statPath), await findMissingTools()];
  const memory = existsSync("/proc/meminfo") ? await systeminformation.mem() : null;
  // What a trial writes matters to the notes alone, and the findings say it in their own words.
  const environment = await describeEnvironment(mount, Number.POSITIVE_INFINITY);
  return {
    directory,
    environment,
    processorQuota: environment.cpu.quota,
    pinning: await trialPinning(),
    hasTurbo: environment.cpu.turbo,
    hasSiblings: environment.cpu.siblings,
    clockSource: readText("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    availableMemoryBytes: memory?.available ?? null,
    usedSwapBytes: memory?.swapused ?? null,
    dirtyBytes: existsSync("/proc/meminfo") ? parseMemory(readFileSync("/proc/meminfo", "utf8")).dirtyBytes : null,
    openFileLimit: readOpenFileLimit(),
    mappingLimit: numberIn("/proc/sys/vm/max_map_count"),
    isRoot: process.getuid?.() === 0,
    neighbours,
    leftovers: otherDataDirectories(directory),
    missingTools,
  };
}

/** What the machine does while the doctor does nothing, and who does it. */
async function listen(deviceStatPath: string | null): Promise<Observation["neighbours"]> {
  if (!existsSync("/proc/stat")) return null;
  const before = readProcesses();
  const heard = await listenFor(LISTEN_MS, deviceStatPath);
  if (heard === null) return null;
  const busiest = [...readProcesses()]
    .map(([id, { name, ticks }]) => ({
      name,
      processorFraction: (ticks - (before.get(id)?.ticks ?? ticks)) / heard.ticksOfOneProcessor,
    }))
    .filter(({ processorFraction }) => processorFraction >= WORTH_NAMING)
    .sort((a, b) => b.processorFraction - a.processorFraction)
    .slice(0, BUSIEST);
  return { ...heard, busiest };
}

/** User and system time of every process but this one: /proc/<pid>/stat, proc(5). */
function readProcesses(): Map<string, { name: string; ticks: number }> {
  const processes = new Map<string, { name: string; ticks: number }>();
  for (const id of readdirSync("/proc")) {
    if (!/^\d+$/.test(id) || id === String(process.pid)) continue;
    const text = readText(join("/proc", id, "stat"));
    // The name is in parentheses and may hold any byte, parentheses and spaces included.
    const [, name, rest] = /^\d+ \((.*)\) (.*)$/s.exec(text ?? "") ?? [];
    if (name === undefined || rest === undefined) continue;
    const fields = rest.split(" ");
    processes.set(id, { name, ticks: Number(fields[11]) + Number(fields[12]) });
  }
  return processes;
}

async function findMissingTools(): Promise<string[]> {
  const found = await Promise.all(
    Object.entries(TOOLS).map(async ([name, options]) => {
      const { failed } = await execa(name, options, { reject: false, stdio: "ignore", timeout: 10_000 });
      return failed ? name : null;
    }),
  );
  return found.filter((name) => name !== null);
}

function readOpenFileLimit(): number | null {
  const soft = /^Max open files +(\S+)/m.exec(readText("/proc/self/limits") ?? "")?.[1];
  if (soft === undefined) return null;
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}

function numberIn(path: string): number | null {
  const text = readText(path);
  return text === null ? null : Number(text);
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return null;
  }
}
