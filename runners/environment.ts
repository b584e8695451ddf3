import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { arch, cpus, loadavg, platform, release, totalmem } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import systeminformation from "systeminformation";
import { checksumProviders } from "../engines/registry.js";
import { machineIdentity } from "../results/comparability.js";
import type { Environment, Run } from "../results/schema.js";
import { whyNoDisk } from "./data-directory.js";
import type { Mount } from "./mount.js";
import { pinningSentence, trialPinning } from "./pinning.js";

/** What every trial's process runs under: fixed, so that neither default nor surroundings change a figure. */
const THREAD_POOL_SIZE = 16;
export const TRIAL_NODE_OPTIONS = ["--max-old-space-size=1024", "--max-semi-space-size=16"];
export const TRIAL_ENVIRONMENT = { UV_THREADPOOL_SIZE: String(THREAD_POOL_SIZE), UV_USE_IO_URING: "0" };

const COMPILED_DIRECTORY = new URL("../", import.meta.url);
const MEASURING_FOLDERS = ["engines", "results", "runners", "scenarios"];
const PROJECT_DIRECTORY = new URL("../../", import.meta.url);
/** The vm.dirty_* defaults of the kernel; distributions leave them. */
export const DIRTY_DEFAULTS: Readonly<Record<string, number>> = {
  dirty_background_bytes: 0,
  dirty_background_ratio: 10,
  dirty_bytes: 0,
  dirty_expire_centisecs: 3000,
  dirty_ratio: 20,
  dirty_writeback_centisecs: 500,
};

/** Describes the machine; reads only. `payloadBytesPerTrial`: the most that a trial writes. */
export async function describeEnvironment(mount: Mount, payloadBytesPerTrial: number): Promise<Environment> {
  const system = await systeminformation.osInfo();
  const device = describeDevice(mount.diskPath);
  const dirtySettings = readDirtySettings();
  const memoryLimitBytes = readMemoryLimit();
  const pinning = await trialPinning();
  const environment: Omit<Environment, "fingerprint"> = {
    platform: `${platform()} ${arch()}`,
    kernel: release(),
    distribution: [system.distro, system.release].filter(Boolean).join(" "),
    cpu: {
      model: cpus()[0]?.model.trim() ?? "unknown",
      logicalCores: Math.max(1, cpus().length),
      governor: readText("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
      turbo: readTurbo(),
      siblings: flag(readText("/sys/devices/system/cpu/smt/active")),
      quota: readProcessorQuota(),
    },
    memoryBytes: totalmem(),
    memoryLimitBytes,
    node: {
      version: process.versions.node,
      v8: process.versions.v8,
      uv: process.versions.uv,
      threadPoolSize: THREAD_POOL_SIZE,
      flags: [
        ...TRIAL_NODE_OPTIONS,
        ...Object.entries(TRIAL_ENVIRONMENT).map(([name, value]) => `${name}=${value}`),
        ...(pinning.processors === null ? [] : [`taskset --cpu-list ${pinning.processors}`]),
      ],
    },
    device,
    filesystem: {
      type: mount.type,
      mountPoint: mount.mountPoint,
      mountOptions: mount.options,
      sizeBytes: mount.sizeBytes,
      freeBytes: mount.freeBytes,
    },
    dirtySettings,
    loadAverage: loadavg(),
    checksumProviders: checksumProviders(),
    notPossible: [
      ...impossibilities(mount, device),
      ...(pinning.processors === null ? [pinningSentence(pinning)] : []),
    ],
    notes: [
      ...limitations(mount, dirtySettings, payloadBytesPerTrial, memoryLimitBytes ?? totalmem()),
      ...(pinning.processors === null ? [] : [pinningSentence(pinning)]),
    ],
  };
  return { fingerprint: fingerprintOf(environment), ...environment };
}

/** The same after a reboot and at any clock rate; different on another machine, device, filesystem, kernel or Node. */
export function fingerprintOf(environment: Omit<Environment, "fingerprint">): string {
  const identity = Object.values(machineIdentity(environment));
  return createHash("sha256").update(JSON.stringify(identity)).digest("hex").slice(0, 16);
}

/** The code that runs: version of the package, commit where the project is a git checkout, and a hash of what measures. */
export async function describeCode(): Promise<Run["code"]> {
  const { version } = readPackage(PROJECT_DIRECTORY);
  const git = (...command: string[]) => execa("git", command, { cwd: PROJECT_DIRECTORY, reject: false });
  const head = await git("rev-parse", "HEAD");
  const hash = hashCode();
  if (head.failed) return { version, commit: null, dirty: null, hash };
  const status = await git("status", "--porcelain");
  return { version, commit: head.stdout.trim(), dirty: status.stdout.trim() !== "", hash };
}

/** Of the compiled code that a figure can depend on: all but tests and reports. */
function hashCode(): string {
  const hash = createHash("sha256");
  for (const folder of MEASURING_FOLDERS) {
    const directory = new URL(`${folder}/`, COMPILED_DIRECTORY);
    const names = readdirSync(directory, { recursive: true, encoding: "utf8" });
    for (const name of names.filter((path) => /\.(js|wasm)$/.test(path) && !/\.(test|bench)\.js$/.test(path)).sort()) {
      hash.update(`${folder}/${name}\n`).update(readFileSync(new URL(name, directory)));
    }
  }
  return hash.digest("hex").slice(0, 16);
}

/** The installed versions of the packages that the project depends on. */
export function installedPackages(): Record<string, string> {
  const { dependencies = {}, optionalDependencies = {} } = readPackage(PROJECT_DIRECTORY);
  const found: Record<string, string> = {};
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies }).sort()) {
    const directory = new URL(`node_modules/${name}/`, PROJECT_DIRECTORY);
    if (existsSync(new URL("package.json", directory))) found[name] = readPackage(directory).version;
  }
  return found;
}

function readPackage(directory: URL): {
  version: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
} {
  return JSON.parse(readFileSync(new URL("package.json", directory), "utf8"));
}

/** From /sys/block; Documentation/ABI/stable/sysfs-block names the files. */
function describeDevice(diskPath: string | null): Environment["device"] {
  const read = (file: string) => (diskPath === null ? null : readText(join(diskPath, file)));
  const requests = read("queue/nr_requests");
  return {
    name: diskPath === null ? null : (diskPath.split("/").at(-1) ?? null),
    model: read("device/model"),
    rotational: flag(read("queue/rotational")),
    // `none [mq-deadline]`: the one in brackets is active.
    scheduler: /\[(.+)\]/.exec(read("queue/scheduler") ?? "")?.[1] ?? read("queue/scheduler"),
    writeCache: read("queue/write_cache"),
    fua: flag(read("queue/fua")),
    queueDepth: requests === null ? null : Number(requests),
  };
}

function readDirtySettings(): Record<string, number> {
  const directory = "/proc/sys/vm";
  if (!existsSync(directory)) return {};
  const names = readdirSync(directory).filter((name) => name.startsWith("dirty"));
  return Object.fromEntries(names.sort().map((name) => [name, Number(readText(join(directory, name)))]));
}

/** The tightest limit of this process's control groups (version 2, then 1), or null. */
function readMemoryLimit(): number | null {
  const groups = readText("/proc/self/cgroup");
  if (groups === null) return null;
  const unified = /^0::(.*)$/m.exec(groups)?.[1] ?? "/";
  const memory = /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(groups)?.[1] ?? "/";
  const limits = [
    readText(join("/sys/fs/cgroup", unified, "memory.max")),
    readText(join("/sys/fs/cgroup/memory", memory, "memory.limit_in_bytes")),
  ].map(Number);
  const real = limits.filter((limit) => Number.isSafeInteger(limit) && limit > 0 && limit < totalmem());
  return real.length === 0 ? null : Math.min(...real);
}

/** Rules of the method that this machine does not let anybody keep, one sentence each. */
function impossibilities(mount: Mount, device: Environment["device"]): string[] {
  const impossible: string[] = [];
  if (device.writeCache === null) {
    impossible.push("The device does not tell whether its write cache is volatile: D3 is not claimed.");
  } else if (device.writeCache !== "write through") {
    impossible.push(
      "The device has a volatile write cache, and nothing here can check that its flush works: D3 is not claimed.",
    );
  }
  if (mount.statPath === null) {
    impossible.push("The platform does not count what the device writes: other writers on it would not be noticed.");
  } else if (!existsSync("/proc/self/io")) {
    impossible.push(
      "The kernel does not count what a process writes: other writers on the device would not be noticed.",
    );
  }
  if (!existsSync("/proc/meminfo")) {
    impossible.push(
      "The platform does not tell how much is dirty: whether the disk had settled before a trial is unknown.",
    );
  }
  if (!existsSync("/proc/stat")) {
    impossible.push("The platform does not tell what a hypervisor withheld: stolen time would not be noticed.");
  }
  if (readText("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") === null) {
    impossible.push(
      "The processor's frequency governor cannot be read: changes of its clock rate would not be noticed.",
    );
  }
  if (readTurbo() === null)
    impossible.push("Whether the processor may clock higher than its nominal rate is not told.");
  return impossible;
}

function limitations(
  mount: Mount,
  dirtySettings: Record<string, number>,
  payloadBytesPerTrial: number,
  memoryBytes: number,
): string[] {
  const notes: string[] = [
    "The device was not preconditioned: figures hold for its present state.",
    "Caches are not dropped before a trial: its directory is new, so none of its data can be in them; what else the kernel keeps is warm.",
    "Writing back was measured under this machine's dirty page settings alone; logduel changes none.",
    "No retention falls due within a trial but where a scenario limits it: what deleting costs is in no other figure.",
  ];
  const reason = whyNoDisk(mount.type);
  if (reason !== null) notes.push(`The data lay on ${mount.type}, which is ${reason}: no figure here is of a disk.`);
  if (payloadBytesPerTrial < 2 * memoryBytes) {
    notes.push(
      "A trial writes less than twice the memory: acknowledged throughput is that of the page cache (cached), durable throughput that of the device.",
    );
  }
  if (mount.freeBytes < 0.2 * mount.sizeBytes) {
    notes.push("Less than 20 % of the filesystem is free: the device may be slower than when there is room.");
  }
  const changed = Object.entries(DIRTY_DEFAULTS).filter(
    ([name, value]) => dirtySettings[name] !== undefined && dirtySettings[name] !== value,
  );
  for (const [name, value] of changed) {
    notes.push(`vm.${name} is ${dirtySettings[name]}; the kernel's default is ${value}.`);
  }
  return notes;
}

/** Of this process's control group (version 2), in processors: `max 100000` is no quota. */
function readProcessorQuota(): number | null {
  const group = /^0::(.*)$/m.exec(readText("/proc/self/cgroup") ?? "")?.[1];
  const [quota, period] =
    readText(join("/sys/fs/cgroup", group ?? "/", "cpu.max"))
      ?.split(" ")
      .map(Number) ?? [];
  return quota !== undefined && period !== undefined && quota > 0 && period > 0 ? quota / period : null;
}

/** Intel's driver says when it is off, the others when it is on. */
function readTurbo(): boolean | null {
  const isOff = flag(readText("/sys/devices/system/cpu/intel_pstate/no_turbo"));
  return isOff === null ? flag(readText("/sys/devices/system/cpu/cpufreq/boost")) : !isOff;
}

function flag(text: string | null): boolean | null {
  return text === null ? null : text === "1";
}

function readText(path: string): string | null {
  try {
    const text = readFileSync(path, "utf8").trim();
    return text === "" ? null : text;
  } catch {
    return null;
  }
}
