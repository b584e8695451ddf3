/** From what a machine is and does to whether figures taken on it can be relied on. Pure. */
import { quote } from "zx";
import type { Environment } from "../../results/schema.js";
import { whyNoDisk } from "../data-directory.js";
import { DIRTY_DEFAULTS } from "../environment.js";
import { FEWEST_PROCESSORS, type Pinning } from "../pinning.js";

/** All of a machine that matters here; null where the platform does not tell. */
export interface Observation {
  /** Existing directory that would be measured. */
  readonly directory: string;
  readonly environment: Environment;
  /** By the control group's quota, as a number of processors. */
  readonly processorQuota: number | null;
  /** Whether and where trials are pinned, as a run would say it. */
  readonly pinning: Pinning;
  readonly hasTurbo: boolean | null;
  readonly hasSiblings: boolean | null;
  readonly clockSource: string | null;
  readonly availableMemoryBytes: number | null;
  readonly usedSwapBytes: number | null;
  readonly dirtyBytes: number | null;
  readonly openFileLimit: number | null;
  readonly mappingLimit: number | null;
  readonly isRoot: boolean;
  /** What others did while the doctor listened. */
  readonly neighbours: {
    /** Of all processors. */
    readonly busyFraction: number;
    readonly stealFraction: number;
    readonly writtenBytesPerSecond: number;
    /** Names of the processes that took most time, busiest first, with their share of one processor. */
    readonly busiest: readonly { readonly name: string; readonly processorFraction: number }[];
  } | null;
  /** Data directories that other runs left in `directory`. */
  readonly leftovers: readonly string[];
  readonly missingTools: readonly string[];
}

/** `good`: nothing to do. `doubtful`: figures suffer, and say so. `unfit`: do not measure here. */
export type Grade = "good" | "doubtful" | "unfit";

export interface Finding {
  readonly subject: string;
  readonly grade: Grade;
  /** What was found, in a few words. */
  readonly found: string;
  /** Of what is not good: why it matters, one sentence. */
  readonly reason?: string;
  /** What changes it, as one types it. */
  readonly command?: string;
}

/** Above these, others take so much that the gate's intervals more than double (quiet.ts listens for the same). */
const BUSY_LIMIT = 0.1;
const BUSY_UNFIT = 0.5;
const STEAL_LIMIT = 0.02;
const STEAL_UNFIT = 0.2;
const WRITING_LIMIT_BYTES = 1e6;
const WRITING_UNFIT_BYTES = 50e6;
/** Method rule 3. */
const FREE_FRACTION = 0.2;
/** What the quick profile needs at most, and the full one. */
const QUICK_BYTES = 3e9;
const FULL_BYTES = 60e9;
/** One file for each of the 10 000 partitions of the largest scenario, its index files and what the process has anyhow. */
const OPEN_FILES_WANTED = 20_000;
const MAPPINGS_WANTED = 65_530;
/** The engines' shared heap, Node's own, and page cache worth measuring. */
const MEMORY_WANTED_BYTES = 4e9;
const DIRTY_LIMIT_BYTES = 256e6;
const SWAP_LIMIT_BYTES = 256e6;
const FAST_CLOCKS = ["tsc", "arch_sys_counter", "kvm-clock"];

/** One finding for each subject, in the order in which a reader would mend them. */
export function diagnose(observation: Observation): Finding[] {
  return [
    filesystem(observation),
    space(observation),
    mountOptions(observation),
    writeCache(observation),
    scheduler(observation),
    neighbours(observation),
    steal(observation),
    otherWriters(observation),
    leftovers(observation),
    processors(observation),
    pinning(observation),
    governor(observation),
    turbo(observation),
    clock(observation),
    memory(observation),
    swap(observation),
    dirtyNow(observation),
    dirtySettings(observation),
    openFiles(observation),
    mappings(observation),
    pageCache(observation),
    tools(observation),
  ].filter((finding) => finding !== null);
}

/** The worst of the grades. */
export function overall(findings: readonly Finding[]): Grade {
  for (const grade of ["unfit", "doubtful"] as const) if (findings.some((one) => one.grade === grade)) return grade;
  return "good";
}

function filesystem({ environment, directory }: Observation): Finding {
  const { type, mountPoint } = environment.filesystem;
  const reason = whyNoDisk(type);
  const found = `${type} at ${mountPoint}`;
  if (reason === null) return { subject: "filesystem", grade: "good", found };
  return {
    subject: "filesystem",
    grade: "unfit",
    found,
    reason: `${directory} lies on ${reason}.`,
    command: "npm run doctor -- --dir <a directory on a disk>",
  };
}

function space({ environment }: Observation): Finding {
  const { freeBytes, sizeBytes } = environment.filesystem;
  const found = `${gigabytes(freeBytes)} of ${gigabytes(sizeBytes)} free`;
  const command = "npm run doctor -- --dir <a directory on another disk>";
  if (freeBytes < QUICK_BYTES) {
    const reason = `The quick profile needs up to ${gigabytes(QUICK_BYTES)}.`;
    return { subject: "space", grade: "unfit", found, reason, command };
  }
  if (freeBytes < FREE_FRACTION * sizeBytes) {
    const reason = "A device that is more than 80 % full may be slower than when there is room.";
    return { subject: "space", grade: "doubtful", found, reason, command };
  }
  if (freeBytes < FULL_BYTES) {
    const reason = `Enough for quick; the full profile needs up to ${gigabytes(FULL_BYTES)}.`;
    return { subject: "space", grade: "good", found: `${found}. ${reason}` };
  }
  return { subject: "space", grade: "good", found };
}

function mountOptions({ environment }: Observation): Finding {
  const { mountOptions: text, mountPoint } = environment.filesystem;
  const options = text.split(",");
  const remount = (option: string) => `sudo mount -o remount,${option} ${quote(mountPoint)}`;
  const subject = "mount options";
  const found = options.filter((option) => !["rw", "relatime", "noatime"].includes(option)).join(",") || text;
  if (options.some((option) => ["nobarrier", "barrier=0"].includes(option))) {
    const reason = "Without barriers a sync need not reach the device: sync figures mean nothing.";
    return { subject, grade: "unfit", found, reason, command: remount("barrier=1") };
  }
  if (options.includes("sync")) {
    const reason = "Every write waits for the device, whatever the flush policy says.";
    return { subject, grade: "unfit", found, reason, command: remount("async") };
  }
  if (options.includes("data=journal")) {
    const reason = "Every byte is written twice, to the journal first.";
    return { subject, grade: "doubtful", found, reason };
  }
  if (options.includes("strictatime")) {
    const reason = "Every read writes an access time.";
    return { subject, grade: "doubtful", found, reason, command: remount("relatime") };
  }
  return { subject, grade: "good", found };
}

function writeCache({ environment }: Observation): Finding | null {
  const { name, model, writeCache, rotational, fua } = environment.device;
  if (name === null) {
    const reason = "Its counters cannot be read, so device utilisation and bytes will be missing.";
    return { subject: "device", grade: "doubtful", found: "unknown", reason };
  }
  const kind = rotational === null ? "" : rotational ? ", rotating disk" : ", no rotating disk";
  const cache = writeCache === null ? "write cache unknown" : writeCache;
  return {
    subject: "device",
    grade: "good",
    found: `${[name, model].filter(Boolean).join(" ")}${kind}, ${cache}${fua === true ? ", FUA" : ""}${
      writeCache === "write back" ? ": D2 at most, as its cache is volatile for all we know" : ""
    }`,
  };
}

function scheduler({ environment }: Observation): Finding | null {
  const { name, scheduler: active, rotational } = environment.device;
  if (active === null || name === null) return null;
  if (active === "bfq" && rotational === false) {
    return {
      subject: "I/O scheduler",
      grade: "doubtful",
      found: active,
      reason: "It holds requests back for fairness, which a fast device does not need.",
      command: `echo none | sudo tee /sys/block/${quote(name)}/queue/scheduler`,
    };
  }
  return { subject: "I/O scheduler", grade: "good", found: active };
}

function neighbours({ neighbours: heard }: Observation): Finding | null {
  if (heard === null) return null;
  const { busyFraction, busiest } = heard;
  const names = busiest.map(({ name, processorFraction }) => `${name} ${percent(processorFraction)}`).join(", ");
  const found = `${percent(busyFraction)} busy${names === "" ? "" : `: ${names} of one`}`;
  if (busyFraction <= BUSY_LIMIT) return { subject: "processors now", grade: "good", found };
  return {
    subject: "processors now",
    grade: busyFraction > BUSY_UNFIT ? "unfit" : "doubtful",
    found,
    reason: "What else runs takes time from both engines, and not evenly.",
    command: "top -o %CPU",
  };
}

function steal({ neighbours: heard }: Observation): Finding | null {
  if (heard === null) return null;
  const { stealFraction } = heard;
  const found = percent(stealFraction);
  if (stealFraction <= STEAL_LIMIT) return { subject: "steal", grade: "good", found };
  return {
    subject: "steal",
    grade: stealFraction > STEAL_UNFIT ? "unfit" : "doubtful",
    found,
    reason: "The hypervisor gives this machine's processors to others: take a dedicated machine, or another hour.",
  };
}

function otherWriters({ neighbours: heard }: Observation): Finding | null {
  if (heard === null) return null;
  const { writtenBytesPerSecond } = heard;
  const found = `${(writtenBytesPerSecond / 1e6).toFixed(1)} MB/s written by others`;
  if (writtenBytesPerSecond <= WRITING_LIMIT_BYTES) return { subject: "device now", grade: "good", found };
  return {
    subject: "device now",
    grade: writtenBytesPerSecond > WRITING_UNFIT_BYTES ? "unfit" : "doubtful",
    found,
    reason: "Another writer takes part of what is to be measured.",
    command: "sudo iotop -oba -n 3",
  };
}

function leftovers({ leftovers: paths }: Observation): Finding | null {
  if (paths.length === 0) return null;
  return {
    subject: "other runs",
    grade: "doubtful",
    found: `${paths.length} data director${paths.length === 1 ? "y" : "ies"} here`,
    reason: "Another run is under way, or was killed and left its data.",
    command: `rm -r ${paths.map((path) => quote(path)).join(" ")}   # if no other run is under way`,
  };
}

function processors({ environment, processorQuota, hasSiblings }: Observation): Finding {
  const { logicalCores, model } = environment.cpu;
  const quota = processorQuota !== null && processorQuota < logicalCores ? `, ${processorQuota} by quota` : "";
  const found = `${logicalCores} × ${model}${quota}${hasSiblings === true ? ", hyper-threads" : ""}`;
  if (Math.min(logicalCores, processorQuota ?? logicalCores) < 2) {
    const reason = "Engine, sampler and kernel share one processor: latencies include the others' work.";
    return { subject: "processors", grade: "doubtful", found, reason };
  }
  if (quota !== "") {
    const reason = "A quota stops the process when its share of a period is used up: the tail shows it.";
    return { subject: "processors", grade: "doubtful", found, reason };
  }
  return { subject: "processors", grade: "good", found };
}

function pinning({ pinning: { processors, reason }, environment }: Observation): Finding {
  if (processors !== null) {
    return { subject: "pinning", grade: "good", found: `trials run on processors ${processors}; one is left over` };
  }
  const found = `none: ${reason}`;
  if (environment.cpu.logicalCores < FEWEST_PROCESSORS) return { subject: "pinning", grade: "good", found };
  return {
    subject: "pinning",
    grade: "doubtful",
    found,
    reason: "Whatever else runs here may be given the processor that a trial's thread was on.",
  };
}

function governor({ environment }: Observation): Finding {
  const { governor: active } = environment.cpu;
  if (active === null) return { subject: "governor", grade: "good", found: "not ours to see (a virtual machine)" };
  if (active === "performance") return { subject: "governor", grade: "good", found: active };
  return {
    subject: "governor",
    grade: "doubtful",
    found: active,
    reason: "The clock rate follows the load, so a faster engine may be measured on a slower processor.",
    command: "sudo cpupower frequency-set -g performance",
  };
}

function turbo({ hasTurbo }: Observation): Finding | null {
  if (hasTurbo === null) return null;
  if (!hasTurbo) return { subject: "turbo", grade: "good", found: "off" };
  return {
    subject: "turbo",
    grade: "doubtful",
    found: "on",
    reason: "The clock rate depends on temperature and on what the other cores do.",
    command: "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo",
  };
}

function clock({ clockSource }: Observation): Finding | null {
  if (clockSource === null) return null;
  if (FAST_CLOCKS.includes(clockSource)) return { subject: "clock", grade: "good", found: clockSource };
  return {
    subject: "clock",
    grade: "doubtful",
    found: clockSource,
    reason: "Reading it costs a system call or more, which every latency then includes.",
    command: "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource",
  };
}

function memory({ environment, availableMemoryBytes }: Observation): Finding {
  const limitBytes = environment.memoryLimitBytes ?? environment.memoryBytes;
  const availableBytes = Math.min(availableMemoryBytes ?? limitBytes, limitBytes);
  const found = `${gigabytes(availableBytes)} of ${gigabytes(limitBytes)} available`;
  if (availableBytes >= MEMORY_WANTED_BYTES) return { subject: "memory", grade: "good", found };
  return {
    subject: "memory",
    grade: "doubtful",
    found,
    reason: `Below ${gigabytes(MEMORY_WANTED_BYTES)} the page cache competes with the engines' buffers.`,
  };
}

function swap({ usedSwapBytes }: Observation): Finding | null {
  if (usedSwapBytes === null) return null;
  const found = usedSwapBytes === 0 ? "not used" : `${gigabytes(usedSwapBytes)} used`;
  if (usedSwapBytes <= SWAP_LIMIT_BYTES) return { subject: "swap", grade: "good", found };
  return {
    subject: "swap",
    grade: "doubtful",
    found,
    reason: "Pages that come back from swap stall whoever touches them, and load the device.",
    command: "sudo swapoff -a",
  };
}

function dirtyNow({ dirtyBytes }: Observation): Finding | null {
  if (dirtyBytes === null) return null;
  const found = `${(dirtyBytes / 1e6).toFixed(0)} MB wait to be written`;
  if (dirtyBytes <= DIRTY_LIMIT_BYTES) return { subject: "dirty pages", grade: "good", found };
  const reason = "Others' bytes would be written back during the first trials.";
  return { subject: "dirty pages", grade: "doubtful", found, reason, command: "sync" };
}

function dirtySettings({ environment }: Observation): Finding | null {
  const { dirtySettings: settings } = environment;
  const names = Object.keys(DIRTY_DEFAULTS).filter((name) => settings[name] !== undefined);
  if (names.length === 0) return null;
  const changed = names.filter((name) => settings[name] !== DIRTY_DEFAULTS[name]);
  if (changed.length === 0) {
    const found = `vm.dirty_ratio ${settings.dirty_ratio}, background ${settings.dirty_background_ratio}: defaults`;
    return { subject: "dirty limits", grade: "good", found };
  }
  // Of a ratio and its bytes the one that is set last zeroes the other, so setting the ratios back is enough.
  const back = changed.filter((name) => !name.endsWith("bytes")).map((name) => `vm.${name}=${DIRTY_DEFAULTS[name]}`);
  return {
    subject: "dirty limits",
    grade: "doubtful",
    found: changed.map((name) => `vm.${name}=${settings[name]}`).join(" "),
    reason: "They decide when writers are made to wait, so asynchronous figures hold for these values only.",
    command: `sudo sysctl ${back.join(" ")}`,
  };
}

function openFiles({ openFileLimit }: Observation): Finding | null {
  if (openFileLimit === null) return null;
  const found = openFileLimit === Number.POSITIVE_INFINITY ? "unlimited" : String(openFileLimit);
  if (openFileLimit >= OPEN_FILES_WANTED) return { subject: "open files", grade: "good", found };
  return {
    subject: "open files",
    grade: "doubtful",
    found,
    reason: "Scenarios with thousands of partitions are refused beforehand.",
    command: `ulimit -n ${OPEN_FILES_WANTED}`,
  };
}

function mappings({ mappingLimit }: Observation): Finding | null {
  if (mappingLimit === null) return null;
  const found = String(mappingLimit);
  if (mappingLimit >= MAPPINGS_WANTED) return { subject: "mappings", grade: "good", found };
  return {
    subject: "mappings",
    grade: "doubtful",
    found,
    reason: "Mapped segments of many partitions may be refused.",
    command: `sudo sysctl vm.max_map_count=${MAPPINGS_WANTED}`,
  };
}

function pageCache({ isRoot, environment }: Observation): Finding | null {
  if (!environment.platform.startsWith("linux")) {
    const reason = "There is no /proc here: dirty pages, steal and device counters will be missing.";
    return { subject: "kernel counters", grade: "doubtful", found: environment.platform, reason };
  }
  const found = isRoot ? "can be dropped whole" : "not root: files are evicted one by one";
  return { subject: "page cache", grade: "good", found };
}

function tools({ missingTools }: Observation): Finding {
  const found = missingTools.length === 0 ? "fio, Java and Maven are there" : `without ${missingTools.join(", ")}`;
  return { subject: "optional tools", grade: "good", found };
}

function gigabytes(sizeBytes: number): string {
  return `${(sizeBytes / 1e9).toFixed(1)} GB`;
}

function percent(fraction: number): string {
  return `${Math.round(fraction * 100)} %`;
}
