import { randomBytes } from "node:crypto";
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, join, resolve } from "node:path";
import { DiskStorage } from "../engines/registry.js";
import { findMount, type Mount } from "./mount.js";

/** The target cannot be measured on; the message says why, and the way out. */
export class UnfitTargetError extends Error {
  override name = "UnfitTargetError";
}

/** Filesystems that are no disk: what they would measure is memory, another layer, or a network. */
const NO_DISK = new Map<RegExp, string>([
  [/^(tmpfs|ramfs|devtmpfs|hugetlbfs)$/, "memory and not a disk"],
  [/^(overlay|aufs|unionfs|fuse\.fuse-overlayfs)$/, "a layer over another filesystem"],
  [
    /^(nfs.*|cifs|smb.*|9p|virtiofs|ceph|glusterfs|fuse\.(sshfs|s3fs|gcsfuse|glusterfs)|afs|davfs)$/,
    "a network filesystem",
  ],
  [/^(proc|sysfs|cgroup2?|devpts|squashfs|iso9660)$/, "not made to be written to"],
]);
const PREFIX = "logduel-data-";
const MARKER = ".made-by-logduel";
/** In a marker that is locked as long as the command lives that made it: the kernel lets go of it however that ends. */
const LOCKED = "locked while in use";

/**
 * Refuses a target before anything is written to it.
 * @param anyFilesystem whether what is no disk is allowed
 * @throws UnfitTargetError
 */
export async function requireFitTarget(
  parent: string,
  needs: { freeBytes: number; anyFilesystem: boolean },
): Promise<Mount> {
  const path = resolve(parent);
  if (!existsSync(path)) throw new UnfitTargetError(`${path} does not exist. Create it, or give another --dir.`);
  if (!statSync(path).isDirectory())
    throw new UnfitTargetError(`${path} is not a directory. Give a directory as --dir.`);
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
  } catch {
    throw new UnfitTargetError(`${path} is not writable for this user. Change its permissions, or give another --dir.`);
  }
  const mount = await findMount(path);
  const reason = whyNoDisk(mount.type);
  if (reason !== null && !needs.anyFilesystem) {
    throw new UnfitTargetError(
      `${path} lies on ${mount.type}, which is ${reason}. Give a directory on a real disk as --dir, or --any-filesystem to measure it all the same.`,
    );
  }
  if (mount.freeBytes < needs.freeBytes) {
    throw new UnfitTargetError(
      `${path} has ${gigabytes(mount.freeBytes)} free and the run needs ${gigabytes(needs.freeBytes)}. Free some, give another --dir, or choose a smaller --profile.`,
    );
  }
  return mount;
}

/** Why a filesystem of this type is no disk, or null. */
export function whyNoDisk(type: string): string | null {
  for (const [pattern, reason] of NO_DISK) if (pattern.test(type)) return reason;
  return null;
}

/**
 * A directory that this run made for itself, marked by a file inside. Everything that engines write lies below it, and
 * nothing else is ever removed.
 */
export class DataDirectory {
  readonly path: string;
  readonly #owner = randomBytes(8).toString("hex");
  /** Which directory was made: an engine can remove or copy a marker, not this. */
  #identity = "";
  /** Of the marker; null where the filesystem locks nothing. */
  #lock: ReturnType<DiskStorage["lock"]> = null;

  /** Makes it inside the existing `parent`; its name is random, so that runs never meet. */
  constructor(parent: string) {
    this.path = join(resolve(parent), `${PREFIX}${this.#owner}`);
    this.#make();
  }

  /** Makes a fresh directory for one trial; what somebody removed meanwhile is made again. */
  makeTrialDirectory(): string {
    if (lstatSync(this.path, { throwIfNoEntry: false }) === undefined) this.#make();
    const path = join(this.path, `trial-${randomBytes(6).toString("hex")}`);
    mkdirSync(path);
    return path;
  }

  /** Empties it, but for the marker. @throws UnfitTargetError when something else lies in its place */
  clear(): void {
    if (lstatSync(this.path, { throwIfNoEntry: false }) === undefined) return;
    this.#requireOurs();
    for (const name of readdirSync(this.path)) {
      if (name !== MARKER) rmSync(join(this.path, name), { recursive: true, force: true, maxRetries: 3 });
    }
  }

  /** Removes it with all that is in it; the marker goes last, so that a removal cut short can be recognised. */
  remove(): void {
    this.clear();
    rmSync(this.path, { recursive: true, force: true });
    this.#lock?.release();
    this.#lock = null;
  }

  #make(): void {
    mkdirSync(this.path);
    this.#identity = this.#identify();
    this.#mark();
  }

  /** Locks it before it says that it is locked. */
  #mark(): void {
    const marker = join(this.path, MARKER);
    writeFileSync(marker, "", { flag: "wx" });
    this.#lock?.release();
    this.#lock = lockOf(marker);
    writeFileSync(marker, this.#lock === null ? `${this.#owner}\n` : `${this.#owner}\n${LOCKED}\n`);
  }

  /** An inode's number is soon given to another directory, so its birth belongs to it (0 where that is unknown). */
  #identify(): string {
    const { dev, ino, birthtimeNs } = lstatSync(this.path, { bigint: true });
    return `${dev} ${ino} ${birthtimeNs}`;
  }

  /** An engine that removed the marker has not made the directory somebody else's; whoever put another in its place has. */
  #requireOurs(): void {
    const isSame = this.#identify() === this.#identity;
    const marker = join(this.path, MARKER);
    const isUnmarked = lstatSync(marker, { throwIfNoEntry: false }) === undefined;
    if (isSame && isUnmarked) this.#mark();
    const isFile = lstatSync(marker, { throwIfNoEntry: false })?.isFile() ?? false;
    if (isSame && isFile && readFileSync(marker, "utf8").split("\n")[0] === this.#owner) return;
    throw new UnfitTargetError(
      `${this.path} does not carry this run's marker: it is left alone. Remove it by hand if it is yours.`,
    );
  }
}

/**
 * Removes the data that killed commands left in `parent`, and names what may be somebody's still.
 * @param tell gets one line for each
 */
export function clearLeftovers(parent: string, tell: (line: string) => void): void {
  for (const path of otherDataDirectories(parent)) {
    if (removeAbandoned(path)) tell(`Removed ${path}: the command that made it was killed.`);
    else if (existsSync(path)) tell(`Another run's data lies in ${path}: remove it if no other run is under way.`);
  }
}

/**
 * What lies there under another name than it was made with was put aside by somebody, and so was what a link leads to.
 * @returns whether it was marked by a command that is gone for certain, and could be removed
 */
function removeAbandoned(path: string): boolean {
  const marker = join(path, MARKER);
  const isMarked = () => {
    const directory = lstatSync(path);
    if (!directory.isDirectory() || directory.uid !== process.getuid?.()) return false;
    if (!(lstatSync(marker, { throwIfNoEntry: false })?.isFile() ?? false)) return false;
    const [owner, state] = readFileSync(marker, "utf8").split("\n");
    return `${PREFIX}${owner}` === basename(path) && state === LOCKED;
  };
  try {
    if (!isMarked()) return false;
    const lock = lockOf(marker);
    if (lock === null) return false;
    try {
      // Another command may have removed it meanwhile.
      if (!isMarked()) return false;
      for (const name of readdirSync(path)) {
        if (name !== MARKER) rmSync(join(path, name), { recursive: true, force: true, maxRetries: 3 });
      }
      rmSync(path, { recursive: true, force: true });
      return true;
    } finally {
      lock.release();
    }
  } catch {
    return false; // another user's, or going already
  }
}

/** Null while another process has it, or where files cannot be locked. */
function lockOf(path: string): ReturnType<DiskStorage["lock"]> {
  try {
    return new DiskStorage().lock(path);
  } catch {
    return null;
  }
}

/** Data directories that other runs made in `parent`: of runs under way, or of runs that were killed. */
export function otherDataDirectories(parent: string): string[] {
  return readdirSync(resolve(parent))
    .filter((name) => name.startsWith(PREFIX) && existsSync(join(parent, name, MARKER)))
    .map((name) => join(resolve(parent), name));
}

function gigabytes(sizeBytes: number): string {
  return `${(sizeBytes / 1e9).toFixed(1)} GB`;
}
