import fs from "node:fs";
import type { Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { ClosedError, ReceiverGoneError, UnsupportedError } from "../errors.js";
import { invariant } from "../invariant.js";
import { RANGE_FIELDS, STALL_MS, type TransferPath } from "./transfer.js";
import { duplicateBlocking, shutDown } from "./transfer-calls.js";
import type { TransferOrder, TransferReply, TransferWorkerData } from "./transfer-worker.js";

/** A file that a ConsumerThread serves; made by its `attach`. */
export interface AttachedFile {
  readonly source: number;
}

/** Bytes of one file. */
export interface AttachedRange {
  readonly file: AttachedFile;
  readonly positionBytes: number;
  readonly sizeBytes: number;
}

interface Waiting {
  readonly resolve: (sentBytes: number) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Serves one consumer on a thread of its own, which may block for as long as the consumer does not read: the caller's
 * thread never does.
 *
 * It takes the connection over from Node: the socket is destroyed, a descriptor of its own goes on, made blocking so that
 * a range goes out in one call. So the connection must be idle and unread (`pauseOnConnect`), and the consumer only
 * listens on it; what it asks for comes some other way.
 */
export class ConsumerThread {
  readonly #socketFd: number;
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  /** The thread replies in order. */
  readonly #waiting: Waiting[] = [];
  #sourceCount = 0;
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;

  /** @throws UnsupportedError, or as `fs` does where the connection is no longer there */
  constructor(socket: Socket) {
    const { _handle: handle } = socket as unknown as { readonly _handle: { readonly fd?: number } | null };
    if (handle?.fd === undefined || handle.fd < 0) {
      throw new UnsupportedError("This connection has no descriptor. Use a connected TCP or Unix socket that is open.");
    }
    invariant(socket.bytesRead === 0 && socket.writableLength === 0, "a connection is taken over before it is used");
    socket.setNoDelay(); // as brokers do: a range's last bytes do not wait for what was sent before to be acknowledged
    this.#socketFd = duplicateBlocking(handle.fd, STALL_MS);
    socket.destroy();
    const workerData: TransferWorkerData = { socketFd: this.#socketFd };
    // Flags of the process may be of no use to a thread (--input-type makes it fail).
    this.#worker = new Worker(new URL("./transfer-worker.js", import.meta.url), { workerData, execArgv: [] });
    this.#worker.on("message", (reply: TransferReply) => this.#onReply(reply));
    this.#worker.on("error", (error) => {
      this.#failure = error;
    });
    this.#ended = new Promise((resolve) => {
      this.#worker.once("exit", () => {
        this.#failure ??= new ClosedError("The consumer's connection was closed before all was sent.");
        for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
        resolve();
      });
    });
    this.#worker.unref();
  }

  /** The descriptor stays the caller's, and open until `detach` has resolved or the thread is closed. */
  attach(fd: number, path: TransferPath): Promise<AttachedFile> {
    const source = this.#sourceCount++;
    return this.#order({ kind: "open", source, path, fd }).then(() => ({ source }));
  }

  /**
   * Sends ranges, one behind the other, after those asked for before. An engine asks for what its readers may see.
   * @returns bytes sent; fewer than asked only where a file ends, and then nothing of the ranges behind it
   * @throws ReceiverGoneError, UnsupportedError, ClosedError, or as `fs` does (EIO)
   */
  send(ranges: readonly AttachedRange[]): Promise<number> {
    return this.#send(ranges, false);
  }

  /**
   * The same for the next part of a stream: behind one that failed or fell short nothing of it goes out, also of what was
   * asked for already.
   * @throws ClosedError then, and as `send`
   */
  sendNext(ranges: readonly AttachedRange[]): Promise<number> {
    return this.#send(ranges, true);
  }

  #send(ranges: readonly AttachedRange[], isStream: boolean): Promise<number> {
    const packed = new Float64Array(ranges.length * RANGE_FIELDS);
    ranges.forEach(({ file, positionBytes, sizeBytes }, i) => {
      packed.set([file.source, positionBytes, sizeBytes], i * RANGE_FIELDS);
    });
    return this.#order({ kind: "send", ranges: packed, isStream });
  }

  async detach(file: AttachedFile): Promise<void> {
    await this.#order({ kind: "close", source: file.source });
  }

  /** Ends the connection, also under a send that is blocked; what was not sent by then is rejected. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    shutDown(this.#socketFd); // wakes a thread that is blocked in the socket
    const end: TransferOrder = { kind: "end" };
    this.#worker.ref();
    this.#worker.postMessage(end);
    await this.#ended;
    fs.closeSync(this.#socketFd);
  }

  #order(order: TransferOrder): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#closing !== undefined) {
      return Promise.reject(new ClosedError("The consumer's connection is closed. Make a new one."));
    }
    if (this.#waiting.length === 0) this.#worker.ref(); // while something is under way, the process goes on
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(order);
    });
  }

  #onReply(reply: TransferReply): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return; // to the order to end, which nobody waits for
    if (this.#waiting.length === 0 && this.#closing === undefined) this.#worker.unref();
    if (reply.kind === "done") waiting.resolve(reply.sentBytes);
    else if (this.#closing === undefined) waiting.reject(asError(reply));
    else waiting.reject(new ClosedError("The consumer's connection was closed before all was sent."));
  }
}

function asError(reply: Exclude<TransferReply, { kind: "done" }>): Error {
  if (reply.kind === "gone") return new ReceiverGoneError(reply.sentBytes, { cause: new Error(reply.cause) });
  if (reply.code === "ERR_CLOSED") return new ClosedError(reply.message);
  if (reply.code === "ERR_UNSUPPORTED") return new UnsupportedError(reply.message);
  return Object.assign(new Error(reply.message), { code: reply.code });
}
