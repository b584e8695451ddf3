import type { Socket } from "node:net";
import { z } from "zod";
import type { Consumer, FetchOptions, FetchOutcome, PartitionHandle } from "./engine.js";
import { BusyError, ClosedError, CorruptDataError, UnsupportedError } from "./errors.js";
import { type AttachedFile, ConsumerThread } from "./storage/consumer-thread.js";
import type { Storage, StorageFile } from "./storage/storage.js";
import { TRANSFER_PATHS, type TransferPath } from "./storage/transfer.js";

/**
 * Files that one send reaches into at most, so that files as small as one batch cannot use up the process's descriptors;
 * as many stay open for the next sends.
 */
export const FILES_A_SEND = 8;
/** What a consumer has open at most: files of two sends, its socket, and what its thread's event loop takes. */
export const OPEN_FILES_A_CONSUMER = 2 * FILES_A_SEND + 16;

/** For the schemas of engines: how bytes get from the log's files to a socket. */
export function transferSetting(original: TransferPath) {
  return z.enum(TRANSFER_PATHS).default(original);
}

/** Bytes of a file of the log. */
export interface FileRange {
  readonly path: string;
  readonly positionBytes: number;
  readonly sizeBytes: number;
}

/** What a send is to move, in order, from at most FILES_A_SEND files, and what it then says. */
export interface SendPlan {
  readonly ranges: readonly FileRange[];
  readonly outcome: FetchOutcome;
}

/** Finds what may be read, as it stands at the call. Throws as `fetch` does. */
export type PlanSend = (
  partition: PartitionHandle,
  fromOffset: number,
  maxBytes: number,
  options: FetchOptions,
) => SendPlan;

/** The consumers that an engine serves over sockets. */
export class Consumers {
  readonly #open = new Set<ServedConsumer>();

  constructor(
    private readonly storage: Storage,
    private readonly transfer: TransferPath,
    private readonly plan: PlanSend,
  ) {}

  get count(): number {
    return this.#open.size;
  }

  /** @throws UnsupportedError */
  serve(socket: Socket): Consumer {
    const consumer = new ServedConsumer(new ConsumerThread(socket), this.storage, this.transfer, this.plan, () =>
      this.#open.delete(consumer),
    );
    this.#open.add(consumer);
    return consumer;
  }

  /** The engine has no use for this file any more: consumers that have it open from an earlier send close it. */
  forget(path: string): void {
    for (const consumer of this.#open) consumer.forget(path);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map((consumer) => consumer.close()));
  }
}

interface ServedFile {
  readonly path: string;
  readonly file: StorageFile;
  readonly attached: Promise<AttachedFile>;
}

/**
 * One consumer. What a send is to move is found, and its files are opened, within the call; from then on the thread has
 * all that it needs, whatever is appended, deleted or closed meanwhile. One send at a time, as a broker reads no further
 * request of a connection before it has answered: so a consumer that does not read holds one send and a few files.
 */
class ServedConsumer implements Consumer {
  /** In order of use, oldest first. */
  readonly #files = new Map<string, ServedFile>();
  #isSending = false;
  #closing: Promise<void> | null = null;

  constructor(
    private readonly thread: ConsumerThread,
    private readonly storage: Storage,
    private readonly transfer: TransferPath,
    private readonly plan: PlanSend,
    private readonly closed: () => void,
  ) {}

  async send(
    partition: PartitionHandle,
    fromOffset: number,
    maxBytes: number,
    options: FetchOptions = {},
  ): Promise<FetchOutcome> {
    if (this.#closing !== null) throw new ClosedError("The consumer has been closed. Serve a new connection.");
    if (this.#isSending) throw new BusyError("A send to this consumer is under way. Await it before the next.");
    const { ranges, outcome } = this.plan(partition, fromOffset, maxBytes, options);
    if (ranges.length === 0) return outcome;
    this.#isSending = true;
    try {
      await this.#send(ranges);
      return outcome;
    } finally {
      this.#isSending = false;
      this.#trim();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  forget(path: string): void {
    const served = this.#files.get(path);
    if (served !== undefined && !this.#isSending) this.#release(served);
  }

  async #send(ranges: readonly FileRange[]): Promise<void> {
    const files = ranges.map(({ path }) => this.#fileOf(path));
    const attached = await Promise.all(files.map((served) => served.attached));
    const sentBytes = await this.thread.send(
      ranges.map(({ positionBytes, sizeBytes }, i) => ({ file: attached[i]!, positionBytes, sizeBytes })),
    );
    let left = sentBytes;
    for (const { path, positionBytes, sizeBytes } of ranges) {
      if (left < sizeBytes) throw new CorruptDataError("The end of a file that was longer", path, positionBytes + left);
      left -= sizeBytes;
    }
  }

  #fileOf(path: string): ServedFile {
    let served = this.#files.get(path);
    if (served === undefined) served = this.#openFile(path);
    else this.#files.delete(path);
    this.#files.set(path, served);
    return served;
  }

  #openFile(path: string): ServedFile {
    const file = this.storage.open(path, "read");
    if (file.descriptor === null) {
      file.close();
      throw new UnsupportedError("Only files of the system can be sent to a socket. Use the storage of the real disk.");
    }
    const attached = this.thread.attach(file.descriptor, this.transfer);
    attached.catch(() => {}); // whoever sends from it knows
    return { path, file, attached };
  }

  #trim(): void {
    if (this.#closing !== null) return;
    for (const served of this.#files.values()) {
      if (this.#files.size <= FILES_A_SEND) return;
      this.#release(served);
    }
  }

  /** The file stays open for as long as the thread may use it. */
  #release(served: ServedFile): void {
    this.#files.delete(served.path);
    void served.attached
      .then((attached) => this.thread.detach(attached))
      .catch(() => {}) // the thread has ended
      .then(() => served.file.close());
  }

  async #close(): Promise<void> {
    await this.thread.close();
    for (const { file } of this.#files.values()) file.close();
    this.#files.clear();
    this.closed();
  }
}
