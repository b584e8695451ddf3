/**
 * The contract that every engine fulfils, and all that the harness knows of one.
 *
 * An engine lives in one process and is driven by one thread that alternates `append` and `poll`:
 *
 *   append ──► (batching, linger) ──► write ──► flush policy ──► listener.acknowledged
 *
 * Acknowledgements are cumulative per partition: `acknowledged(partition, baseOffset, messageCount)` concerns the oldest
 * `messageCount` messages of that partition not yet acknowledged, in the order in which they were appended. So neither
 * side needs an object, closure or promise per message.
 */

import type { Socket } from "node:net";
import type { z } from "zod";
import type { Heap } from "./heap.js";
import type { Storage, StorageCounters } from "./storage/storage.js";

/** What an acknowledgement means: D0 in user memory, D1 handed to the kernel, D2 fdatasync returned. (D3 needs to know
 * the device, so only the harness can promote D2 to it.) */
export type EngineDurability = "D0" | "D1" | "D2";

export interface Header {
  readonly key: string;
  readonly value: Uint8Array | null;
}

/** A topic's partition (or queue) as the hot path names it: a small dense number, valid until the engine is closed. */
export type PartitionHandle = number;

export interface PartitionInfo {
  readonly handle: PartitionHandle;
  readonly topic: string;
  /** Partition index within the topic, from 0. */
  readonly index: number;
  /** Offset of the oldest message kept. */
  readonly startOffset: number;
  /** Log end offset: what the next message gets. */
  readonly endOffset: number;
}

/** One message as read back. The object and its byte views are reused: valid during the visit only. */
export interface StoredMessage {
  offset: number;
  timestampMs: number;
  key: Uint8Array | null;
  value: Uint8Array | null;
  headers: readonly Header[];
}

export type MessageVisitor = (message: StoredMessage) => void;

/** What a fetch leaves out. */
export interface FetchOptions {
  /**
   * Only messages whose tags are one of these, compared whole, are visited; the empty list lets none through. An engine
   * whose format has no tags refuses it with an UnsupportedError.
   */
  readonly tags?: readonly string[];
}

export interface FetchOutcome {
  /** Where the next fetch goes on: behind the last message visited or left out, so it grows where none matched, too. */
  nextOffset: number;
  /** Messages visited. */
  messageCount: number;
  /** Bytes read from the log, framing included. */
  sizeBytes: number;
}

/** Which messages of a key are wanted. */
export interface KeyQuery {
  /** Store time of the oldest message wanted, and of the newest, in ms since the epoch; both inclusive. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly maxMessages: number;
}

/** As MessageVisitor; `partition` is where the message lies. */
export type KeyedMessageVisitor = (message: StoredMessage, partition: PartitionHandle) => void;

/**
 * A consumer at the other end of a socket. It is sent the log's own bytes, whole record batches or whole records, nothing
 * around them; what is sent is arranged some other way.
 */
export interface Consumer {
  /**
   * Sends what lies from `fromOffset` on, up to `maxBytes`, but at least one batch or record if there is one; never what
   * `fetch` would not visit. A record batch is sent whole, so it may begin with messages before `fromOffset`. The bytes'
   * checksums are the receiver's to check, and tags that share a hash with a wanted one its to sort out.
   *
   * Resolves when the socket has taken everything: a consumer that does not read makes this wait, and nothing else of the
   * engine. It is `queue`, awaited.
   * @returns messages from `fromOffset` on, and bytes, that were sent (messages compacted away count as sent)
   * @throws OffsetOutOfRangeError, CorruptDataError, UnsupportedError, BusyError, ClosedError, ReceiverGoneError; after the
   * last, or an error of the system, the receiver may have got a part, so close it
   */
  send(partition: PartitionHandle, fromOffset: number, maxBytes: number, options?: FetchOptions): Promise<FetchOutcome>;
  /**
   * The same, but says at once what will be sent, so that what follows can be asked for before it is. A few may wait at a
   * time, in order; a consumer that does not read holds no more than those. Behind one that fails nothing is sent.
   * @throws as `send`, where that is known at once; BusyError when as many wait as may
   */
  queue(partition: PartitionHandle, fromOffset: number, maxBytes: number, options?: FetchOptions): QueuedSend;
  /** Ends the connection, also under sends that wait, which are rejected with a ClosedError. */
  close(): Promise<void>;
}

export interface QueuedSend {
  /** As `send` resolves with. */
  readonly outcome: FetchOutcome;
  /** Resolves when the socket has taken it. Rejects as `send`, and with a ClosedError behind one that failed. */
  readonly sent: Promise<void>;
}

/** What an engine did in detail; the harness puts these on the same clock as its latencies. */
export interface EngineEvent {
  readonly kind: "segment-roll" | "file-preallocate" | "sync" | "index-flush" | "retention-delete";
  readonly startedNs: bigint;
  readonly durationNs: number;
  /** A partition, file name or byte count that tells events of one kind apart. */
  readonly detail?: string;
}

/** Its methods may be called within `append`, and then also for the message that is being appended. */
export interface EngineListener {
  /** The oldest `messageCount` unacknowledged messages of `partition` have reached what the flush policy promises. */
  acknowledged(partition: PartitionHandle, baseOffset: number, messageCount: number): void;
  /** The oldest `messageCount` unacknowledged messages of `partition` are lost to the caller: never acknowledged. */
  failed(partition: PartitionHandle, messageCount: number, error: Error): void;
  event?(event: EngineEvent): void;
}

/** Exact counts since `open`; they have no noise, so a gate can compare them for equality. */
export interface EngineCounters extends StorageCounters {
  appendedMessages: number;
  acknowledgedMessages: number;
  /** Record batches (partitioned-log) or batch appends (commitlog) written. */
  batches: number;
  /** Bytes of log written, framing included, indexes and checkpoints excluded. */
  logBytes: number;
  indexEntries: number;
  indexBytes: number;
  /** Segments or commitlog files begun. */
  filesRolled: number;
}

/** What opening a directory found and mended. */
export interface RecoveryReport {
  readonly wasCleanShutdown: boolean;
  readonly durationMs: number;
  readonly scannedBytes: number;
  readonly truncatedBytes: number;
  readonly rebuiltIndexes: number;
  readonly droppedFiles: number;
  /** One sentence for each thing mended, naming file and position; also for what is mended later, by a read that met it. */
  readonly repairs: readonly string[];
}

export interface StorageEngine {
  /** What an acknowledgement of this engine means under its flush policy. */
  readonly durability: EngineDurability;
  readonly recovery: RecoveryReport;

  /** Creates a topic, or opens it if it is there with at least as many partitions. @throws UnrepresentableError */
  createTopic(topic: string, partitionCount: number): Promise<readonly PartitionHandle[]>;
  partitions(): readonly PartitionInfo[];
  partitionInfo(partition: PartitionHandle): PartitionInfo;

  /**
   * Takes one message; its bytes have been copied on return.
   * @returns false when the buffer memory is exhausted: nothing was taken, poll and try again.
   * @throws UnrepresentableError, LogFailedError, ClosedError
   */
  append(partition: PartitionHandle, message: Message, timestampMs: number): boolean;

  /**
   * Does what is due: drains batches whose linger has passed, starts syncs, advances background work by a bounded step.
   * Never blocks on the device unless the policy makes a write do so.
   */
  poll(): void;

  /** Resolves when all that was appended before is written, acknowledged and synced to the device. */
  flush(): Promise<void>;

  /**
   * Visits messages from `fromOffset` on, in order, checking their checksums, until about `maxBytes` of log were read;
   * at least one message if there is one. Never visits what the policy hides (RocketMQ hides the unflushed under sync).
   * With `options.tags` it may also end, having visited nothing, after a bounded number of messages that were left out;
   * it always gets on.
   * @throws OffsetOutOfRangeError, CorruptDataError, UnsupportedError
   */
  fetch(
    partition: PartitionHandle,
    fromOffset: number,
    maxBytes: number,
    visit: MessageVisitor,
    options?: FetchOptions,
  ): Promise<FetchOutcome>;

  /**
   * Offset of the oldest message kept, of those that can be fetched, whose timestamp is not older than `timestampMs`; the
   * end of what can be fetched if there is none. The timestamp is the one that the original searches by: Kafka the
   * message's, by its time index; RocketMQ the store's.
   * @throws CorruptDataError
   */
  offsetForTimestamp?(partition: PartitionHandle, timestampMs: number): Promise<number>;

  /**
   * Serves a consumer on a thread of its own, by the setting `transfer`. Takes the connection over: it must be open and
   * unused (`pauseOnConnect`), and `socket` is of no use afterwards. Closing the engine closes its consumers.
   * @throws UnsupportedError, ClosedError, OpenError when the process may not open more files
   */
  serve?(socket: Socket): Consumer;

  /**
   * Waits for a message that is not there yet, by the setting `polling`. Hidden messages do not wake (see `fetch`).
   * @param timeoutMs longer than 24.8 days counts as that
   * @returns true as soon as a message at `offset` can be fetched; false when the time is up, or the engine is closed
   * @throws OffsetOutOfRangeError, ClosedError
   */
  awaitMessages?(partition: PartitionHandle, offset: number, timeoutMs: number): Promise<boolean>;

  /**
   * Visits the messages of `topic`, in all its partitions, that have `key`, the newest first, checking their checksums.
   * @returns how many were visited
   * @throws CorruptDataError, UnsupportedError if the settings keep no index of keys
   */
  messagesByKey?(topic: string, key: string, query: KeyQuery, visit: KeyedMessageVisitor): Promise<number>;

  /**
   * Lets one more thread append to this engine's partitions, as they are now. The ticket is for `attachWriter` of the
   * engine's definition, in that thread; nothing else makes use of it. The engine's own `append` goes on to work, as one
   * more writer, and `poll` does for all what is rare: it makes room, syncs, and says how far the writers may acknowledge.
   * So it has to be called while they append.
   * @param thread the Worker that will get the ticket: if it ends without closing its writer, the log does not wait for it
   * @throws UnsupportedError under settings, or on a storage, that leave the appends to one thread
   */
  openWriter?(thread: WriterThread): WriterTicket;

  counters(): EngineCounters;

  /**
   * Bytes of log that are written and that consumers do not see yet, because what finds messages is built behind the log
   * (RocketMQ: reput). Cheap: asked every few milliseconds. Absent where a message is found as soon as it is written.
   */
  dispatchLagBytes?(): number;

  /**
   * Flushes, writes checkpoints and the clean-shutdown marker, closes files and releases memory.
   * @throws WritersAttachedError, and goes on as before, while a writer is open
   */
  close(): Promise<void>;
}

/** What an engine has to know of a worker thread: its `Worker` object has it. */
export interface WriterThread {
  once(event: "exit", listener: () => void): unknown;
}

/** Goes to a worker thread by `workerData` or `postMessage`. Whatever else is in it is the engine's affair. */
export interface WriterTicket {
  readonly engine: string;
}

/**
 * One thread's way into a log that several threads append to. It is driven like an engine: `append` and `poll` in turn, by
 * one thread. Acknowledgements are cumulative per partition over the writer's own messages, in the order in which it
 * appended them; the offsets of a partition are shared out among its writers.
 */
export interface Writer {
  /** As the engine's. May sleep until the engine has been polled, where it needs a new window or segment. */
  append(partition: PartitionHandle, message: Message, timestampMs: number): boolean;
  /**
   * Writes batches that are due and acknowledges what may be.
   * @param waitMs if nothing was acknowledged and something waits to be: how long to sleep until the engine gets on
   */
  poll(waitMs?: number): void;
  /** Resolves when all that was appended here is written, acknowledged and synced; the engine has to be polled. @throws LogFailedError */
  flush(): Promise<void>;
  /**
   * Resolves when all that was appended here is written and acknowledged (or reported as failed), and the thread has left
   * the log; the engine has to be polled.
   */
  close(): Promise<void>;
}

export interface AttachOptions {
  readonly ticket: WriterTicket;
  /** This thread's heap, which shares its memory with the engine's. */
  readonly heap: Heap;
  readonly listener: EngineListener;
}

/**
 * Whose work an engine's thread is at within `append` and `poll`, if producers and broker were apart: values of
 * `OpenOptions.stage`.
 *
 *   producer  takes the message, collects it with others, frames or encodes it, compresses, computes the checksum
 *   broker    gives out offset and position, places or writes, indexes, dispatches, syncs, deletes; encodes what was
 *             left to it (`assembly: "broker"`)
 */
export const STAGE_PRODUCER = 1;
export const STAGE_BROKER = 2;

export interface OpenOptions {
  /** Absolute path of a directory that is this engine's alone. */
  readonly directory: string;
  readonly storage: Storage;
  readonly heap: Heap;
  /** As given by a scenario; the engine's schema validates and completes it. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly listener: EngineListener;
  /**
   * One cell, 0 so far, that somebody looks at from another thread to share out this thread's CPU time. An engine that can
   * tell sets it while it opens to the stage that most of its `append` is, sets it to the other one where that begins, and
   * back where it ends, also when it throws: at batches and polls, never for each message where that costs. One that
   * cannot leaves it alone.
   */
  readonly stage?: Int32Array;
}

/**
 * A message to append; immutable. Construct once and append often: a message whose bytes lie in the heap
 * (`heap.place`) is encoded without a copy through JavaScript.
 */
export class Message {
  /** Address in the heap of the value's bytes, or -1 when they lie elsewhere. */
  readonly valueAddress: number;
  readonly valueSizeBytes: number;
  readonly keyAddress: number;
  readonly keySizeBytes: number;

  constructor(
    heap: Heap,
    readonly value: Uint8Array | null,
    readonly key: Uint8Array | null = null,
    readonly headers: readonly Header[] = NO_HEADERS,
  ) {
    this.valueAddress = heap.addressOf(value);
    this.valueSizeBytes = value === null ? -1 : value.byteLength;
    this.keyAddress = heap.addressOf(key);
    this.keySizeBytes = key === null ? -1 : key.byteLength;
  }
}

const NO_HEADERS: readonly Header[] = [];

/** An engine as the registry knows it; a third party's module exports one of these as its default export. */
export interface EngineDefinition {
  readonly name: string;
  /** One sentence for `--list` and for reports. */
  readonly description: string;
  /** Strict: an unknown setting is an error. Its output is the complete settings, each default the original's. */
  readonly settingsSchema: z.ZodType<Record<string, unknown>>;
  /** `false` for an engine that keeps nothing (null): it is not verified and not asked to fetch. */
  readonly storesMessages: boolean;
  open(options: OpenOptions): Promise<StorageEngine>;
  /** In a worker thread: takes up what the engine's `openWriter` has made for this thread. */
  attachWriter?(options: AttachOptions): Writer;
}
