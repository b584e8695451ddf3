/**
 * Moves ranges of a file to a connected socket, by the three ways that brokers take:
 *
 *   sendfile  page cache to socket in one call, nothing mapped, nothing copied to this process (Kafka)
 *   mmap      write(2) out of a mapping of the file (RocketMQ, transferMsgByHeap = false)
 *   copy      pread(2) into a buffer of this process, write(2) out of it (RocketMQ's default; Kafka under TLS)
 *
 * All are synchronous and block until the socket has taken the range, so they belong on a thread that serves consumers
 * (`ConsumerThread`), not on one that writes. A blocking socket takes a range in the fewest calls; on one that does not
 * block, or whose sends time out, the rest follows when it takes more.
 *
 * What sendfile has sent is still the page cache's until the receiver reads it: a file that is cut or overwritten before
 * then changes what arrives (tested: cutting within the page sends zeros). The other two have copied it by then.
 */

import { ReceiverGoneError, UnsupportedError } from "../errors.js";
import { invariant } from "../invariant.js";
import { addressOf, errnoOf, systemError } from "./libc.js";
import { endOfFile, mapForReading, transferCalls, unmap, waitWritable } from "./transfer-calls.js";

export const TRANSFER_PATHS = ["sendfile", "mmap", "copy"] as const;
export type TransferPath = (typeof TRANSFER_PATHS)[number];

/** Of each range, in what a thread is told to send: number of the file, position and size in bytes. */
export const RANGE_FIELDS = 3;
/** How long a thread sleeps in the kernel at most before it comes back and can be ended. */
export const STALL_MS = 100;
/** Larger ranges are copied in pieces of this size. */
const COPY_BUFFER_SIZE_BYTES = 256 << 10;
/** Mapped ahead of a file that grows, so that it is seldom mapped again; address space only. */
const SMALLEST_MAPPING_BYTES = 64 << 20;

const RECEIVER_GONE = ["EPIPE", "ECONNRESET", "ENOTCONN", "ETIMEDOUT"];
/** What kernels say of files that do not live in the page cache, and of sockets that take no pages. */
const SENDFILE_REFUSED = ["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"];

/**
 * An open file, sent in ranges by one path. Its descriptor stays the caller's, open for as long as this is used, and the
 * file is not cut meanwhile within a range that is being sent.
 */
export interface TransferSource {
  /**
   * @returns bytes sent; fewer than asked only where the file ends
   * @throws ReceiverGoneError, UnsupportedError, or as `fs` does (EIO, EBADF)
   */
  send(socketFd: number, positionBytes: number, sizeBytes: number): number;
  /** Gives a mapping back. */
  close(): void;
}

/** @throws UnsupportedError */
export function transferSource(path: TransferPath, fd: number): TransferSource {
  switch (path) {
    case "sendfile":
      return new SendfileSource(fd);
    case "mmap":
      return new MappedSource(fd);
    case "copy":
      return new CopySource(fd);
  }
}

abstract class Source implements TransferSource {
  protected readonly calls = transferCalls();
  /** The call that failed. */
  protected abstract readonly syscall: string;

  constructor(protected readonly fd: number) {}

  /** @returns bytes taken by the socket, 0 at the end of the file, or a negated error number */
  protected abstract move(socketFd: number, positionBytes: number, sizeBytes: number): number;

  send(socketFd: number, positionBytes: number, sizeBytes: number): number {
    invariant(positionBytes >= 0 && sizeBytes >= 0, "a range of a file begins within it and has a size");
    let sent = 0;
    while (sent < sizeBytes) {
      const moved = this.move(socketFd, positionBytes + sent, sizeBytes - sent);
      if (moved > 0) sent += moved;
      else if (moved === 0) break;
      else this.#recover(-moved, socketFd, sent);
    }
    return sent;
  }

  close(): void {}

  /** Returns when it is worth trying again. */
  #recover(errno: number, socketFd: number, sentBytes: number): void {
    if (errno === errnoOf("EINTR")) return;
    if (errno === errnoOf("EAGAIN")) {
      waitWritable(socketFd, STALL_MS);
      return;
    }
    const error = systemError(errno, this.syscall);
    if (RECEIVER_GONE.includes(error.code!)) throw new ReceiverGoneError(sentBytes, { cause: error });
    if (this.syscall === "sendfile" && SENDFILE_REFUSED.includes(error.code!)) {
      throw new UnsupportedError(
        `The system does not send this file with sendfile (${error.code}). Use the transfer "mmap" or "copy".`,
        { cause: error },
      );
    }
    throw error;
  }
}

class SendfileSource extends Source {
  protected readonly syscall = "sendfile";

  protected move(socketFd: number, positionBytes: number, sizeBytes: number): number {
    return this.calls.sendfile(socketFd, this.fd, positionBytes, sizeBytes);
  }
}

class MappedSource extends Source {
  protected readonly syscall = "write";
  #address = 0;
  #mappedBytes = 0;

  protected move(socketFd: number, positionBytes: number, sizeBytes: number): number {
    // The mapping goes on to the end of the last page and beyond, the file does not.
    const end = Math.min(endOfFile(this.fd), positionBytes + sizeBytes);
    if (end <= positionBytes) return 0;
    if (end > this.#mappedBytes) this.#mapAtLeast(end);
    const moved = this.calls.write(socketFd, this.#address + positionBytes, end - positionBytes);
    const isCut = moved < 0 && moved === -errnoOf("EFAULT") && endOfFile(this.fd) <= positionBytes;
    return isCut ? 0 : moved;
  }

  override close(): void {
    if (this.#mappedBytes > 0) unmap(this.#address, this.#mappedBytes);
    this.#mappedBytes = 0;
  }

  #mapAtLeast(sizeBytes: number): void {
    this.close();
    const mappedBytes = Math.max(SMALLEST_MAPPING_BYTES, 2 ** Math.ceil(Math.log2(sizeBytes)));
    try {
      this.#address = mapForReading(this.fd, mappedBytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENODEV") throw error;
      throw new UnsupportedError('The file system maps no files (ENODEV). Use the transfer "sendfile" or "copy".', {
        cause: error,
      });
    }
    this.#mappedBytes = mappedBytes;
  }
}

class CopySource extends Source {
  protected syscall = "write";
  readonly #buffer = new Uint8Array(COPY_BUFFER_SIZE_BYTES);
  readonly #address = addressOf(this.#buffer);

  /** What the socket does not take of a piece is read again. */
  protected move(socketFd: number, positionBytes: number, sizeBytes: number): number {
    const pieceBytes = Math.min(sizeBytes, this.#buffer.byteLength);
    const read = this.calls.pread(this.fd, this.#address, pieceBytes, positionBytes);
    this.syscall = read < 0 ? "pread" : "write";
    return read <= 0 ? read : this.calls.write(socketFd, this.#address, read);
  }
}
