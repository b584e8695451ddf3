/**
 * The C library's calls that move a file's bytes to a socket. Those that move bytes return their count or the negated
 * error number, read at once: errno belongs to the thread, and what V8 does on it in between may change it. Linux and
 * macOS; constants from <sys/socket.h>, <fcntl.h>, <poll.h> and <sys/mman.h> of each.
 */

import fs from "node:fs";
import { declareCall, lastErrno, systemError } from "./libc.js";

const isDarwin = process.platform === "darwin";

const F_DUPFD_CLOEXEC = isDarwin ? 67 : 1030;
const F_GETFL = 3;
const F_SETFL = 4;
const SOL_SOCKET = isDarwin ? 0xffff : 1;
const SO_SNDTIMEO = isDarwin ? 0x1005 : 21;
const SHUT_RDWR = 2;
const SEEK_END = 2;
const POLLOUT = 4;
const PROT_READ = 1;
const MAP_SHARED = 1;

interface TransferCalls {
  readonly sendfile: (socketFd: number, fd: number, positionBytes: number, sizeBytes: number) => number;
  readonly write: (fd: number, address: number, sizeBytes: number) => number;
  readonly pread: (fd: number, address: number, sizeBytes: number, positionBytes: number) => number;
  readonly lseek: (fd: number, positionBytes: number, whence: number) => number;
  readonly mmap: (
    address: number,
    sizeBytes: number,
    protection: number,
    flags: number,
    fd: number,
    positionBytes: number,
  ) => number | bigint;
  readonly munmap: (address: number, sizeBytes: number) => number;
  readonly fcntl: (fd: number, command: number, type: "int", value: number) => number;
  readonly setsockopt: (fd: number, level: number, option: number, value: Uint8Array, sizeBytes: number) => number;
  readonly shutdown: (fd: number, how: number) => number;
  readonly poll: (entries: Uint8Array, count: number, timeoutMs: number) => number;
}

let loaded: TransferCalls | undefined;

/** @throws UnsupportedError */
export function transferCalls(): TransferCalls {
  loaded ??= {
    sendfile: isDarwin ? darwinSendfile() : linuxSendfile(),
    write: plainWrite(),
    pread: plainPread(),
    lseek: declareCall("int64_t lseek(int, int64_t, int)"),
    mmap: declareCall("uintptr_t mmap(uintptr_t, size_t, int, int, int, int64_t)"),
    munmap: declareCall("int munmap(uintptr_t, size_t)"),
    fcntl: declareCall("int fcntl(int, int, ...)"),
    setsockopt: declareCall("int setsockopt(int, int, int, void*, uint32_t)"),
    shutdown: declareCall("int shutdown(int, int)"),
    poll: declareCall("int poll(void*, unsigned long, int)"),
  };
  return loaded;
}

function plainWrite(): TransferCalls["write"] {
  const call = declareCall<TransferCalls["write"]>("int64_t write(int, uintptr_t, size_t)");
  return (fd, address, sizeBytes) => {
    const written = call(fd, address, sizeBytes);
    return written < 0 ? -lastErrno() : written;
  };
}

function plainPread(): TransferCalls["pread"] {
  const call = declareCall<TransferCalls["pread"]>("int64_t pread(int, uintptr_t, size_t, int64_t)");
  return (fd, address, sizeBytes, positionBytes) => {
    const read = call(fd, address, sizeBytes, positionBytes);
    return read < 0 ? -lastErrno() : read;
  };
}

function linuxSendfile(): TransferCalls["sendfile"] {
  const call = declareCall<(to: number, from: number, position: BigInt64Array, sizeBytes: number) => number>(
    "int64_t sendfile(int, int, _Inout_ int64_t*, size_t)",
  );
  const position = new BigInt64Array(1);
  return (socketFd, fd, positionBytes, sizeBytes) => {
    position[0] = BigInt(positionBytes);
    const sent = call(socketFd, fd, position, sizeBytes);
    return sent < 0 ? -lastErrno() : sent;
  };
}

function darwinSendfile(): TransferCalls["sendfile"] {
  const call = declareCall<
    (from: number, to: number, position: number, size: BigInt64Array, headers: null, flags: number) => number
  >("int sendfile(int, int, int64_t, _Inout_ int64_t*, void*, int)");
  const size = new BigInt64Array(1);
  return (socketFd, fd, positionBytes, sizeBytes) => {
    size[0] = BigInt(sizeBytes);
    const errno = call(fd, socketFd, positionBytes, size, null, 0) === 0 ? 0 : lastErrno();
    const sent = Number(size[0]); // counted also when it then fails for want of room
    return sent > 0 ? sent : -errno;
  };
}

/** Bytes that the open file has now. */
export function endOfFile(fd: number): number {
  const end = transferCalls().lseek(fd, 0, SEEK_END);
  if (end < 0) throw systemError(lastErrno(), "lseek");
  return end;
}

/** Maps the file's first `sizeBytes` for reading, also those that it does not have yet. @returns the address */
export function mapForReading(fd: number, sizeBytes: number): number {
  const address = transferCalls().mmap(0, sizeBytes, PROT_READ, MAP_SHARED, fd, 0);
  if (typeof address === "bigint") throw systemError(lastErrno(), "mmap"); // MAP_FAILED is all ones
  return address;
}

export function unmap(address: number, sizeBytes: number): void {
  if (transferCalls().munmap(address, sizeBytes) !== 0) throw systemError(lastErrno(), "munmap");
}

/**
 * A descriptor of its own for the socket behind `fd`, blocking, whose sends return after at most `stallMs` without
 * progress (with EAGAIN, or the bytes sent). Blocking is the socket's: whoever shares it must not use it any more.
 */
export function duplicateBlocking(fd: number, stallMs: number): number {
  const { fcntl, setsockopt } = transferCalls();
  const own = fcntl(fd, F_DUPFD_CLOEXEC, "int", 0);
  if (own < 0) throw systemError(lastErrno(), "fcntl");
  try {
    const flags = fcntl(own, F_GETFL, "int", 0);
    if (flags < 0 || fcntl(own, F_SETFL, "int", flags & ~fs.constants.O_NONBLOCK) !== 0) {
      throw systemError(lastErrno(), "fcntl");
    }
    const timeval = new Uint8Array(8 + 8); // seconds and microseconds; macOS reads four bytes of the second
    const view = new DataView(timeval.buffer);
    view.setInt32(0, Math.floor(stallMs / 1e3), true);
    view.setInt32(8, (stallMs % 1e3) * 1e3, true);
    if (setsockopt(own, SOL_SOCKET, SO_SNDTIMEO, timeval, timeval.byteLength) !== 0) {
      throw systemError(lastErrno(), "setsockopt");
    }
    return own;
  } catch (error) {
    fs.closeSync(own);
    throw error;
  }
}

/** Waits until the socket takes more, is broken, or the time is up. */
export function waitWritable(socketFd: number, timeoutMs: number): void {
  const entry = new Uint8Array(4 + 2 + 2); // struct pollfd: i32 fd, i16 events, i16 what happened
  const view = new DataView(entry.buffer);
  view.setInt32(0, socketFd, true);
  view.setInt16(4, POLLOUT, true);
  transferCalls().poll(entry, 1, timeoutMs); // a failure shows in the send that follows
}

/** Ends both directions of a socket, so that a thread that blocks in sending to it fails with EPIPE. */
export function shutDown(socketFd: number): void {
  transferCalls().shutdown(socketFd, SHUT_RDWR); // fails only where the receiver has ended it before
}
