/**
 * The few calls of the C library that Node does not offer, through koffi: memory mappings, block reservation, advice
 * and file locks. Linux and macOS; constants from <sys/mman.h>, <fcntl.h> and <sys/file.h> of each.
 *
 * All addresses here are absolute (heap base + heap address). A call costs about 200 ns.
 */

import { createRequire } from "node:module";
import type { KoffiFunc, LibraryHandle } from "koffi";
import { UnsupportedError } from "../errors.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import type { FileAdvice } from "./storage.js";

type Koffi = typeof import("koffi");

const isLinux = process.platform === "linux";
const isDarwin = process.platform === "darwin";

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = isDarwin ? 0x1000 : 0x20;
const MAP_NORESERVE = isDarwin ? 0x40 : 0x4000;
const MS_SYNC = isDarwin ? 0x10 : 0x04;
/** Linux 5.14. */
const MADV_POPULATE_WRITE = 23;
const MADV_RANDOM = 1;
const MADV_DONTNEED = 4;
/** What posix_fadvise takes: the pages of a range are read here and there, one behind the other, or not needed any more. */
const ADVICE: Readonly<Record<FileAdvice, number>> = { random: 1, sequential: 2, drop: 4 };
/** Open-file-description locks (Linux 3.15): they exclude both a second opener in this process and a JVM's FileLock. */
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_WRLCK = 1;
const F_UNLCK = 2;
/** `struct flock` of 64-bit Linux: i16 type, i16 whence, i64 start, i64 length, i32 pid; start, length 0 = all of it. */
const FLOCK_SIZE_BYTES = 32;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const LOCK_SH_NB = 1 | 4;
const LOCK_EX_NB = 2 | 4;

interface NativeCalls {
  readonly koffi: Koffi;
  readonly libc: LibraryHandle;
  readonly addressOf: (bytes: Uint8Array, sameBytes: Uint8Array, sizeBytes: number) => number;
  readonly mmap: (
    address: number,
    sizeBytes: number,
    protection: number,
    flags: number,
    fd: number,
    position: number,
  ) => number | bigint;
  readonly msync: KoffiFunc<(address: number, sizeBytes: number, flags: number) => number>;
  readonly madvise: KoffiFunc<(address: number, sizeBytes: number, advice: number) => number>;
  readonly flock: (fd: number, operation: number) => number;
  readonly linux: LinuxCalls | null;
}

interface LinuxCalls {
  readonly fallocate: (fd: number, mode: number, position: number, sizeBytes: number) => number;
  readonly posixFadvise: (fd: number, position: number, sizeBytes: number, advice: number) => number;
  readonly lseek: (fd: number, position: number, whence: number) => number | bigint;
  readonly fcntlLock: (fd: number, command: number, type: string, lock: Uint8Array) => number;
}

let calls: NativeCalls | Error | undefined;

function native(): NativeCalls {
  calls ??= loadCalls();
  if (calls instanceof Error) {
    throw new UnsupportedError(
      `Memory mapping and file locks need koffi's library, which did not load on ${process.platform}-${process.arch} (${calls.message}). Use Linux or macOS on x64 or arm64.`,
      { cause: calls },
    );
  }
  return calls;
}

function loadCalls(): NativeCalls | Error {
  try {
    if (!isLinux && !isDarwin) return new Error("neither Linux nor macOS");
    const koffi = createRequire(import.meta.url)("koffi") as Koffi;
    const libc = koffi.load(null);
    const declare = <F>(declaration: string) => libc.func(declaration) as unknown as F;
    return {
      koffi,
      libc,
      addressOf: declare("uintptr_t memcpy(void*, void*, size_t)"),
      mmap: declare("uintptr_t mmap(uintptr_t, size_t, int, int, int, int64_t)"),
      msync: declare("int msync(uintptr_t, size_t, int)"),
      madvise: declare("int madvise(uintptr_t, size_t, int)"),
      flock: declare("int flock(int, int)"),
      linux: isLinux ? linuxCalls(libc) : null,
    };
  } catch (error) {
    return error as Error;
  }
}

function linuxCalls(libc: LibraryHandle): LinuxCalls {
  const declare = <F>(declaration: string) => libc.func(declaration) as unknown as F;
  return {
    fallocate: declare("int fallocate(int, int, int64_t, int64_t)"),
    posixFadvise: declare("int posix_fadvise(int, int64_t, int64_t, int)"),
    lseek: declare("int64_t lseek(int, int64_t, int)"),
    fcntlLock: declare("int fcntl(int, int, ...)"),
  };
}

/** Declares one more call, for a module that keeps the calls that it alone makes. @throws UnsupportedError */
export function declareCall<F>(declaration: string): F {
  return native().libc.func(declaration) as unknown as F;
}

/** The error number that the last call on this thread left. */
export function lastErrno(): number {
  return native().koffi.errno();
}

/** Number of an error that has a name on this platform. */
export function errnoOf(name: string): number {
  const errno = native().koffi.os.errno[name];
  invariant(errno !== undefined, "an error that is asked for by name exists on this platform");
  return errno;
}

/** Address of a buffer's first byte; it stays there for as long as the buffer is referenced. */
export function addressOf(bytes: Uint8Array): number {
  return native().addressOf(bytes, bytes, 0); // memcpy of nothing returns its target's address
}

/** An error of the last call, in the form that `fs` gives its own: `code`, `syscall` and a sentence. */
function lastError(syscall: string): NodeJS.ErrnoException {
  const { koffi } = native();
  return systemError(koffi.errno(), syscall);
}

export function systemError(errno: number, syscall: string): NodeJS.ErrnoException {
  const names = Object.entries(native().koffi.os.errno);
  const code = names.find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
  return Object.assign(new Error(`${code}: ${syscall}`), { code, errno: -errno, syscall });
}

const baseAddresses = new WeakMap<Heap, number>();

/** Absolute address of the heap's address 0. @throws UnsupportedError */
export function baseAddressOf(heap: Heap): number {
  let base = baseAddresses.get(heap);
  if (base === undefined) {
    base = addressOf(heap.bytes.subarray(0, 1));
    baseAddresses.set(heap, base);
  }
  return base;
}

/** Maps a file shared and writable over `address`, replacing what was there. @throws as `fs` does, UnsupportedError */
export function mapFile(address: number, sizeBytes: number, fd: number, positionBytes: number): void {
  mapFixed(address, sizeBytes, MAP_SHARED | MAP_FIXED, fd, positionBytes);
}

/** Puts fresh zero memory over `address`, replacing what was there. @throws as `fs` does, UnsupportedError */
export function mapAnonymous(address: number, sizeBytes: number): void {
  mapFixed(address, sizeBytes, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

function mapFixed(address: number, sizeBytes: number, flags: number, fd: number, positionBytes: number): void {
  const mapped = native().mmap(address, sizeBytes, PROT_READ | PROT_WRITE, flags, fd, positionBytes);
  if (mapped !== address) throw lastError("mmap"); // a fixed mapping is there or has failed
}

/**
 * Faults mapped pages in for writing, on a thread of the pool, their content unchanged.
 * @returns false where the kernel does not offer it (before Linux 5.14, macOS): touch the pages instead
 */
export function populate(address: number, sizeBytes: number): Promise<boolean> {
  if (!isLinux) return Promise.resolve(false);
  return new Promise((resolve, reject) => {
    native().madvise.async(address, sizeBytes, MADV_POPULATE_WRITE, (error: Error | null, result: number) => {
      if (error) reject(error);
      else resolve(result === 0);
    });
  });
}

/**
 * Writes a mapping's dirty pages back and waits, on a thread of the pool or on this one. On Linux fdatasync of the file
 * does it too; on macOS fsync alone does not see stores into a mapping.
 *
 * Linux makes every page that it writes back read-only first, and interrupts each processor that runs a thread of ours
 * for every single one: 15 to 20 µs a page in a virtual machine, most of a small sync. Taking the whole range out of the
 * page tables before costs one interrupt. The pages of a shared mapping stay in the page cache, dirty as they are, and
 * the next store faults as it would have done.
 */
export function syncMapping(address: number, sizeBytes: number): Promise<void> {
  if (isLinux) native().madvise(address, sizeBytes, MADV_DONTNEED); // only helps, so a failure is none
  return new Promise((resolve, reject) => {
    native().msync.async(address, sizeBytes, MS_SYNC, (error: Error | null, result: number) => {
      if (error) reject(error);
      // errno belongs to the pool's thread; a failed write-back is what msync fails with on valid ranges
      else if (result !== 0) reject(systemError(native().koffi.os.errno.EIO ?? 5, "msync"));
      else resolve();
    });
  });
}

/**
 * Reserves blocks for the file's first `sizeBytes`, growing it to that size.
 * @returns false where the platform or the filesystem cannot; nothing was changed then
 * @throws as `fs` does (ENOSPC, EIO)
 */
export function reserveBlocks(fd: number, sizeBytes: number): boolean {
  if (!isLinux) return false;
  let loaded: NativeCalls;
  try {
    loaded = native();
  } catch {
    return false;
  }
  const { linux, koffi } = loaded;
  if (linux!.fallocate(fd, 0, 0, sizeBytes) === 0) return true;
  const errno = koffi.errno();
  if (errno === koffi.os.errno.EOPNOTSUPP || errno === koffi.os.errno.ENOSYS) return false;
  throw systemError(errno, "fallocate");
}

/**
 * Advises the kernel on the file's pages; a size of 0 reaches to its end. Dirty and mapped pages are not dropped.
 * @throws UnsupportedError on macOS
 */
export function adviseFile(fd: number, advice: FileAdvice, positionBytes: number, sizeBytes: number): void {
  const { linux } = native();
  if (linux === null) {
    throw new UnsupportedError("macOS offers no posix_fadvise. Make the cache cold with `purge` before the run.");
  }
  const errno = linux.posixFadvise(fd, positionBytes, sizeBytes, ADVICE[advice]);
  if (errno !== 0) throw systemError(errno, "posix_fadvise");
}

/**
 * The first part of the file from `from` on that is not a hole, up to `sizeBytes`; all of it where the platform or the
 * filesystem does not tell. The descriptor's own position moves. @returns null if the rest is a hole @throws as `fs` does
 */
export function findData(fd: number, from: number, sizeBytes: number): { from: number; to: number } | null {
  const all = { from, to: sizeBytes };
  if (!isLinux) return all;
  let loaded: NativeCalls;
  try {
    loaded = native();
  } catch {
    return all;
  }
  const { linux, koffi } = loaded;
  const data = Number(linux!.lseek(fd, from, SEEK_DATA));
  if (data < 0) {
    const errno = koffi.errno();
    if (errno === koffi.os.errno.ENXIO) return null;
    if (errno === koffi.os.errno.EINVAL) return all;
    throw systemError(errno, "lseek");
  }
  const hole = Number(linux!.lseek(fd, data, SEEK_HOLE));
  return { from: data, to: hole > data ? Math.min(hole, sizeBytes) : sizeBytes };
}

/** Advises the kernel that the mapping is read at random places. @throws as `fs` does, UnsupportedError */
export function adviseRandomMapping(address: number, sizeBytes: number): void {
  if (native().madvise(address, sizeBytes, MADV_RANDOM) !== 0) throw lastError("madvise");
}

/** Takes an exclusive lock on the open file for as long as it is open. @returns false when another opener holds one */
export function lockFile(fd: number): boolean {
  const { linux, flock, koffi } = native();
  let result: number;
  if (linux !== null) {
    const lock = new Uint8Array(FLOCK_SIZE_BYTES);
    new DataView(lock.buffer).setInt16(0, F_WRLCK, true);
    result = linux.fcntlLock(fd, F_OFD_SETLK, "void*", lock);
  } else {
    result = flock(fd, LOCK_EX_NB);
  }
  if (result === 0) return true;
  const errno = koffi.errno();
  if (errno === koffi.os.errno.EAGAIN || errno === koffi.os.errno.EACCES) return false;
  throw systemError(errno, "lock");
}

/**
 * Whether another opener holds a lock that excludes `lockFile`; reading the file is permission enough. macOS has no
 * question for that: a shared lock is tried, and goes when the file is closed.
 */
export function isFileLocked(fd: number): boolean {
  const { linux, flock, koffi } = native();
  if (linux === null) {
    if (flock(fd, LOCK_SH_NB) === 0) return false;
    if (koffi.errno() === koffi.os.errno.EAGAIN) return true;
    throw lastError("lock");
  }
  const lock = new Uint8Array(FLOCK_SIZE_BYTES);
  const view = new DataView(lock.buffer);
  view.setInt16(0, F_WRLCK, true);
  if (linux.fcntlLock(fd, F_OFD_GETLK, "void*", lock) !== 0) throw lastError("lock");
  return view.getInt16(0, true) !== F_UNLCK;
}
