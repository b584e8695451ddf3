import { existsSync, readFileSync, realpathSync, statfsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import systeminformation from "systeminformation";

/** What a path lies on. */
export interface Mount {
  /** `ext4`, `tmpfs`, … as the platform calls it. */
  readonly type: string;
  readonly mountPoint: string;
  readonly options: string;
  readonly sizeBytes: number;
  /** For an unprivileged user. */
  readonly freeBytes: number;
  /** The directory of the whole disk below /sys, or null where the platform or the filesystem does not tell. */
  readonly diskPath: string | null;
  /** The device's or partition's counters, `/sys/dev/block/M:m/stat`. */
  readonly statPath: string | null;
}

/** Finds what the existing path `path` lies on. */
export async function findMount(path: string): Promise<Mount> {
  const real = realpathSync(path);
  const space = statfsSync(real);
  const sizes = { sizeBytes: space.blocks * space.bsize, freeBytes: space.bavail * space.bsize };
  if (existsSync("/proc/self/mountinfo")) {
    const entry = findMountEntry(readFileSync("/proc/self/mountinfo", "utf8"), real);
    if (entry !== null) return { ...entry, ...sizes, ...findDisk(real) };
  }
  const volumes = (await systeminformation.fsSize()).filter(({ mount }) => isBelow(real, mount));
  const volume = volumes.sort((a, b) => b.mount.length - a.mount.length)[0];
  return {
    type: volume?.type ?? "unknown",
    mountPoint: volume?.mount ?? "/",
    options: volume === undefined || volume.rw === null ? "" : volume.rw ? "rw" : "ro",
    ...sizes,
    diskPath: null,
    statPath: null,
  };
}

/**
 * The entry of /proc/self/mountinfo that the absolute path lies on: the longest mount point, and of equals the last,
 * which covers the others. Format: proc_pid_mountinfo(5).
 */
export function findMountEntry(
  mountinfo: string,
  path: string,
): { type: string; mountPoint: string; options: string } | null {
  let found: { type: string; mountPoint: string; options: string } | null = null;
  for (const line of mountinfo.split("\n")) {
    const [left, right] = line.split(" - ");
    if (left === undefined || right === undefined) continue;
    const [, , , , escapedPoint = "", mountOptions = ""] = left.split(" ");
    const [type = "", , superOptions = ""] = right.split(" ");
    const mountPoint = escapedPoint.replace(/\\([0-7]{3})/g, (_, octal) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    if (!isBelow(path, mountPoint) || (found !== null && mountPoint.length < found.mountPoint.length)) continue;
    const options = [...new Set([...mountOptions.split(","), ...superOptions.split(",")])].join(",");
    found = { type, mountPoint, options };
  }
  return found;
}

function isBelow(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory.endsWith("/") ? directory : `${directory}/`);
}

function findDisk(path: string): { diskPath: string | null; statPath: string | null } {
  const device = statSync(path).dev;
  // Linux: 12 bits of major above 8 of minor, further bits of minor above those.
  const major = (device >>> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
  const link = `/sys/dev/block/${major}:${minor}`;
  if (!existsSync(link)) return { diskPath: null, statPath: null };
  const entry = realpathSync(link);
  const diskPath = existsSync(join(entry, "partition")) ? dirname(entry) : entry;
  return { diskPath, statPath: join(entry, "stat") };
}
