/**
 * Moves ranges of a file to a connected socket, by the three ways that brokers take:
 *
 *   sendfile  page cache to socket in one call, nothing mapped, nothing copied to this process (Kafka)
 *   mmap      write(2) out of a mapping of the file (RocketMQ, transferMsgByHeap = false)
 *   copy      pread(2) into a buffer of this process, write(2) out of it (RocketMQ's default; Kafka under TLS); ranges
 *             that are sent together share the buffer, so that scattered records leave in few writes
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
/** What is copied leaves in pieces of this size. */
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

/** A range to be sent behind others. */
export interface SourceRange {
  readonly source: TransferSource;
  readonly positionBytes: number;
  readonly sizeBytes: number;
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

/**
 * Sends ranges, one behind the other.
 * @returns bytes sent; fewer than asked only where a file ends, and then nothing of the ranges behind it
 * @throws as `TransferSource.send`; ReceiverGoneError says how much went out of all of them
 */
export function sendRanges(socketFd: number, ranges: readonly SourceRange[]): number {
  const receiver = new Receiver(socketFd);
  for (const { source, positionBytes, sizeBytes } of ranges) {
    invariant(positionBytes >= 0 && sizeBytes >= 0, "a range of a file begins within it and has a size");
    if (!(source as Source).sendTo(receiver, positionBytes, sizeBytes)) break;
  }
  receiver.flush();
  return receiver.sentBytes;
}

/** One thread sends one range at a time, so its copies need one buffer. */
let copyBuffer: { readonly address: number; readonly bytes: Uint8Array } | undefined;

function bufferForCopies() {
  if (copyBuffer === undefined) {
    const bytes = new Uint8Array(COPY_BUFFER_SIZE_BYTES);
    copyBuffer = { address: addressOf(bytes), bytes };
  }
  return copyBuffer;
}

/** A socket during a call of `sendRanges`, with what was copied for it and is not sent yet. */
class Receiver {
  readonly #calls = transferCalls();
  sentBytes = 0;
  #copiedBytes = 0;

  constructor(readonly socketFd: number) {}

  /** Repeats a call that moves bytes to the socket until all have gone. @returns whether the file had them all */
  move(syscall: string, sizeBytes: number, call: (doneBytes: number) => number): boolean {
    for (let done = 0; done < sizeBytes; ) {
      const moved = call(done);
      if (moved === 0) return false;
      if (moved > 0) {
        done += moved;
        this.sentBytes += moved;
      } else {
        this.#recover(-moved, syscall);
      }
    }
    return true;
  }

  /** Reads a range into the buffer, sending what that holds whenever it is full. @returns as `move` */
  copy(fd: number, positionBytes: number, sizeBytes: number): boolean {
    const { address, bytes } = bufferForCopies();
    for (let done = 0; done < sizeBytes; ) {
      const room = Math.min(sizeBytes - done, bytes.byteLength - this.#copiedBytes);
      const read = this.#calls.pread(fd, address + this.#copiedBytes, room, positionBytes + done);
      if (read === 0) return false;
      if (read > 0) {
        done += read;
        this.#copiedBytes += read;
        if (this.#copiedBytes === bytes.byteLength) this.flush();
      } else if (-read !== errnoOf("EINTR")) {
        throw systemError(-read, "pread");
      }
    }
    return true;
  }

  /** Sends what was copied. */
  flush(): void {
    const sizeBytes = this.#copiedBytes;
    if (sizeBytes === 0) return;
    this.#copiedBytes = 0;
    const { address } = bufferForCopies();
    this.move("write", sizeBytes, (done) => this.#calls.write(this.socketFd, address + done, sizeBytes - done));
  }

  /** Returns when it is worth trying again. */
  #recover(errno: number, syscall: string): void {
    if (errno === errnoOf("EINTR")) return;
    if (errno === errnoOf("EAGAIN")) {
      waitWritable(this.socketFd, STALL_MS);
      return;
    }
    const error = systemError(errno, syscall);
    if (RECEIVER_GONE.includes(error.code!)) throw new ReceiverGoneError(this.sentBytes, { cause: error });
    if (syscall === "sendfile" && SENDFILE_REFUSED.includes(error.code!)) {
      throw new UnsupportedError(
        `The system does not send this file with sendfile (${error.code}). Use the transfer "mmap" or "copy".`,
        { cause: error },
      );
    }
    throw error;
  }
}

abstract class Source implements TransferSource {
  protected readonly calls = transferCalls();

  constructor(protected readonly fd: number) {}

  /** Sends a range, or keeps a copy with the receiver. @returns whether the file had all of it */
  abstract sendTo(receiver: Receiver, positionBytes: number, sizeBytes: number): boolean;

  send(socketFd: number, positionBytes: number, sizeBytes: number): number {
    return sendRanges(socketFd, [{ source: this, positionBytes, sizeBytes }]);
  }

  close(): void {}
}

class SendfileSource extends Source {
  sendTo(receiver: Receiver, positionBytes: number, sizeBytes: number): boolean {
    receiver.flush();
    return receiver.move("sendfile", sizeBytes, (done) =>
      this.calls.sendfile(receiver.socketFd, this.fd, positionBytes + done, sizeBytes - done),
    );
  }
}

class MappedSource extends Source {
  #address = 0;
  #mappedBytes = 0;

  sendTo(receiver: Receiver, positionBytes: number, sizeBytes: number): boolean {
    receiver.flush();
    return receiver.move("write", sizeBytes, (done) =>
      this.#move(receiver.socketFd, positionBytes + done, sizeBytes - done),
    );
  }

  /** @returns bytes taken by the socket, 0 at the end of the file, or a negated error number */
  #move(socketFd: number, positionBytes: number, sizeBytes: number): number {
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
  sendTo(receiver: Receiver, positionBytes: number, sizeBytes: number): boolean {
    return receiver.copy(this.fd, positionBytes, sizeBytes);
  }
}
