import type { Socket } from "node:net";
import { z } from "zod";
import type { Consumer, FetchOptions, FetchOutcome, PartitionHandle, QueuedSend } from "./engine.js";
import { BusyError, ClosedError, CorruptDataError, UnsupportedError } from "./errors.js";
import { type AttachedFile, ConsumerThread } from "./storage/consumer-thread.js";
import type { Storage, StorageFile } from "./storage/storage.js";
import { TRANSFER_PATHS, type TransferPath } from "./storage/transfer.js";

/**
 * Files that one send reaches into at most, and all that wait together, so that files as small as one batch cannot use up
 * the process's descriptors; as many stay open for the next sends.
 */
export const FILES_A_SEND = 8;
/** Sends to one consumer that may wait: enough to keep its thread busy while the next are asked for. */
const SENDS_A_CONSUMER = 8;
/** What a consumer has open at most: files of sends, of earlier ones, and to be closed; its socket, its thread's event loop. */
export const OPEN_FILES_A_CONSUMER = 3 * FILES_A_SEND + 16;

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
  /** Sends that wait and reach into it. */
  sendCount: number;
  readonly path: string;
  readonly file: StorageFile;
  readonly attached: Promise<AttachedFile>;
}

/**
 * One consumer. What a send is to move is found, and its files are opened, within the call; from then on the thread has
 * all that it needs, whatever is appended, deleted or closed meanwhile. Sends wait in the thread's queue, so that a small
 * one does not cost a round trip between threads; few, so that a consumer that does not read holds little.
 */
class ServedConsumer implements Consumer {
  /** In order of use, oldest first. */
  readonly #files = new Map<string, ServedFile>();
  #sendCount = 0;
  /** Resolves when the thread has been given all sends so far; rejected once a file could not be attached. */
  #ordered: Promise<unknown> = Promise.resolve();
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
    options?: FetchOptions,
  ): Promise<FetchOutcome> {
    const { outcome, sent } = this.queue(partition, fromOffset, maxBytes, options);
    await sent;
    return outcome;
  }

  queue(partition: PartitionHandle, fromOffset: number, maxBytes: number, options: FetchOptions = {}): QueuedSend {
    if (this.#closing !== null) throw new ClosedError("The consumer has been closed. Serve a new connection.");
    if (this.#sendCount === SENDS_A_CONSUMER) {
      throw new BusyError(
        `${SENDS_A_CONSUMER} sends to this consumer wait, as many as may. Await one before the next.`,
      );
    }
    const { ranges, outcome } = this.plan(partition, fromOffset, maxBytes, options);
    if (ranges.length === 0) return { outcome, sent: Promise.resolve() };
    const paths = new Set(ranges.map(({ path }) => path));
    this.#checkFileCount(paths);
    const files = [...paths].map((path) => this.#fileOf(path));
    const sent = this.#send(ranges, files);
    sent.catch(() => {}); // who waits for an earlier one that fails may never look at this
    return { outcome, sent };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  forget(path: string): void {
    const served = this.#files.get(path);
    if (served?.sendCount === 0) this.#release(served);
  }

  /** @throws BusyError */
  #checkFileCount(paths: ReadonlySet<string>): void {
    let fileCount = paths.size;
    for (const { path, sendCount } of this.#files.values()) if (sendCount > 0 && !paths.has(path)) fileCount++;
    if (fileCount <= FILES_A_SEND) return;
    throw new BusyError("The sends that wait reach into as many files as they may. Await them before the next.");
  }

  async #send(ranges: readonly FileRange[], files: readonly ServedFile[]): Promise<void> {
    this.#sendCount++;
    for (const served of files) served.sendCount++;
    try {
      await this.#sendInOrder(ranges, files);
    } finally {
      this.#sendCount--;
      for (const served of files) served.sendCount--;
      this.#trim();
    }
  }

  async #sendInOrder(ranges: readonly FileRange[], files: readonly ServedFile[]): Promise<void> {
    const attaching = this.#ordered.then(() => Promise.all(files.map(({ attached }) => attached)));
    const ordered = attaching.then((attached) => {
      const fileOf = new Map(files.map(({ path }, i) => [path, attached[i]!]));
      const sending = this.thread.sendNext(
        ranges.map(({ path, positionBytes, sizeBytes }) => ({ file: fileOf.get(path)!, positionBytes, sizeBytes })),
      );
      return { sending };
    });
    this.#ordered = ordered;
    let left = await (await ordered).sending;
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
    return { sendCount: 0, path, file, attached };
  }

  #trim(): void {
    if (this.#closing !== null) return;
    for (const served of this.#files.values()) {
      if (this.#files.size <= FILES_A_SEND) return;
      if (served.sendCount === 0) this.#release(served);
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
