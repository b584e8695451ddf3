import { javaStringHash, readInt64, SYS_FLAG_AT, SysFlag } from "../codec/commitlog-message.js";
import type { Heap } from "../heap.js";
import type { Storage } from "../storage/storage.js";
import { IndexFile, type IndexGeometry, type IndexItem, indexFileSize } from "./index-file.js";
import { INDEX_DIRECTORY, indexFileName, isIndexFileName } from "./names.js";
import type { OpenFiles } from "./open-files.js";

const [NAME_END, PAIR_END, SPACE, HASH_SIGN] = [0x01, 0x02, 0x20, 0x23];
const [KEYS, UNIQ, UNDERSCORE_KEY] = [0x4b455953, 0x554e4951, 0x5f4b4559];
const FIRST_NON_ASCII = 0x80;
/** Of a full file's slots, written a step. */
const STEP_BYTES = 256 << 10;
const SECOND_MS = 1_000;

export interface KeyIndexOptions {
  readonly storage: Storage;
  readonly heap: Heap;
  readonly files: OpenFiles;
  readonly root: string;
  readonly geometry: IndexGeometry;
  readonly counters: { indexBytes: number };
}

/**
 * RocketMQ's `index/`: finds the records of a topic that have a key, which are the words of the property KEYS and the
 * value of UNIQ_KEY. Only a hash is kept, so what is found has to be compared. Made by the dispatcher of the log's
 * records (prepared messages, too, but no rollbacks), UNIQ_KEY first; derived data, which the log rebuilds.
 *
 * The directory is made when a store is first opened with an index, and the first file with the first key (RocketMQ:
 * with the first message), so that a log without keys has none of its sparse 420 MB. A directory that is missing is thus
 * an index that is missing.
 *
 * After a crash RocketMQ deletes the file that it was writing and indexes again only what it recovers of the log: older
 * keys are lost, unless messageIndexSafe makes it read the log from the last full file on. Here the items are synced
 * together with the consumequeues before the checkpoint moves, and the slots follow from the items; so the file is cut
 * to where recovery starts to read the log, and nothing is lost.
 *
 * Source: RocketMQ, store/index/IndexService.java.
 */
export class KeyIndex {
  readonly #files: IndexFile[] = [];
  /** Full files whose slots are on their way. */
  #finishing: IndexFile[] = [];
  readonly #unsynced = new Set<IndexFile>();
  #directoryIsUnsynced = false;
  /** Store time up to which full files are on the device: RocketMQ's indexMsgTimestamp. */
  fullUntilMs = 0;
  itemCount = 0;

  constructor(private readonly options: KeyIndexOptions) {}

  get directory(): string {
    return `${this.options.root}/${INDEX_DIRECTORY}`;
  }

  /** Finds the files there are. @returns whether there is a directory, and nothing but files of the right size in it */
  load(): boolean {
    const { storage, files, geometry } = this.options;
    if (!storage.exists(this.directory)) return false;
    let isWhole = true;
    for (const { name, kind } of storage.list(this.directory)) {
      if (kind !== "file" || !isIndexFileName(name)) continue;
      const file = this.#fileOf(name);
      if (files.get(file.path).sizeBytes() === indexFileSize(geometry)) file.readHeader();
      else isWhole = false;
      this.#files.push(file);
    }
    return isWhole;
  }

  #fileOf(name: string): IndexFile {
    const { files, geometry, counters } = this.options;
    return new IndexFile(files, geometry, `${this.directory}/${name}`, this.#files.length > 0, counters);
  }

  /** Of each file its name and the number of its next item. */
  state(): [name: string, nextItem: number][] {
    return this.#files.map(({ name, nextItem }) => [name, nextItem]);
  }

  /** Goes on with files that a clean shutdown left. */
  resume(): void {
    this.options.storage.makeDirectory(this.directory); // an empty one may have been taken away
    const last = this.#files.at(-1);
    if (last !== undefined && !last.isFull) last.readSlots();
    this.fullUntilMs = this.#files.findLast((file) => !file.isLive)?.endTimestampMs ?? 0;
  }

  /** Begins anew, with an empty directory. */
  clear(): void {
    for (const file of this.#files.splice(0)) file.remove();
    this.#finishing = [];
    this.#unsynced.clear();
    this.fullUntilMs = 0;
    this.options.storage.makeDirectory(this.directory);
  }

  /**
   * Keeps the items of records before `position`, where the log is about to be read again.
   * @param fullUntilMs the checkpoint's indexMsgTimestamp: full files up to then are on the device
   * @param storeTimestampAt store time of the record at a position, undefined if there is none
   * @returns false if something is missing: then the index is to be made of the whole log
   */
  cutAt(position: number, fullUntilMs: number, storeTimestampAt: (at: number) => number | undefined): boolean {
    for (const [index, file] of this.#files.entries()) {
      if (file.isFull && file.endPosition < position && file.endTimestampMs <= fullUntilMs) {
        this.fullUntilMs = file.endTimestampMs;
        continue;
      }
      if (!file.rebuild(position)) return false;
      if (file.nextItem === 1) {
        for (const dropped of this.#files.splice(index)) dropped.remove();
        break;
      }
      const endTimestampMs = storeTimestampAt(file.endPosition);
      if (endTimestampMs === undefined) return false;
      file.endTimestampMs = endTimestampMs;
      file.clearRest();
      file.writeHeader();
      this.#unsynced.add(file);
      if (file.isFull) this.#finishing.push(file);
    }
    return true;
  }

  /** Indexes the record at `address` of the heap, which stands behind those indexed before. */
  addRecord(address: number): void {
    const { bytes, view } = this.options.heap;
    const sysFlag = view.getInt32(address + SYS_FLAG_AT);
    const storeTimestampAt = address + 48 + ((sysFlag & SysFlag.BORN_HOST_V6) !== 0 ? 20 : 8);
    const bodyAt = storeTimestampAt + 8 + ((sysFlag & SysFlag.STORE_HOST_V6) !== 0 ? 20 : 8) + 4 + 8 + 4;
    const topicSizeAt = bodyAt + view.getInt32(bodyAt - 4);
    // The last byte of the magic tells V2, whose topic's length has two bytes.
    const isV2 = bytes[address + 7] === 0xab;
    const topicAt = topicSizeAt + (isV2 ? 2 : 1);
    const topicEnd = topicAt + (isV2 ? view.getInt16(topicSizeAt) : view.getInt8(topicSizeAt));
    const end = address + view.getInt32(address);
    let [keysAt, keysEnd, uniqueAt, uniqueEnd] = [0, 0, 0, 0];
    for (let at = topicEnd + 2; at < end; at++) {
      const pair = at;
      let nameEnd = 0;
      for (; at < end; at++) {
        const byte = bytes[at]!;
        if (byte === PAIR_END) break;
        if (byte === NAME_END && nameEnd === 0) nameEnd = at;
      }
      if (nameEnd <= pair || nameEnd + 1 >= at) continue;
      if (nameEnd - pair === 4 && view.getInt32(pair) === KEYS) {
        keysAt = nameEnd + 1;
        keysEnd = at;
      } else if (nameEnd - pair === 8 && view.getInt32(pair) === UNIQ && view.getInt32(pair + 4) === UNDERSCORE_KEY) {
        uniqueAt = nameEnd + 1;
        uniqueEnd = at;
      }
    }
    const position = readInt64(view, address + 28);
    const storeTimestampMs = readInt64(view, storeTimestampAt);
    if (uniqueEnd > 0) this.#add(this.#hash(topicAt, topicEnd, uniqueAt, uniqueEnd), position, storeTimestampMs);
    for (let at = keysAt; at < keysEnd; at++) {
      const word = at;
      while (at < keysEnd && bytes[at] !== SPACE) at++;
      if (at > word) this.#add(this.#hash(topicAt, topicEnd, word, at), position, storeTimestampMs);
    }
  }

  /** `indexHash` of a topic and key in the heap: while they are ASCII, Java's characters are their bytes. */
  #hash(topicAt: number, topicEnd: number, keyAt: number, keyEnd: number): number {
    const { bytes } = this.options.heap;
    let hash = 0;
    let seen = 0;
    for (let at = topicAt; at < topicEnd; at++) {
      const byte = bytes[at]!;
      seen |= byte;
      hash = (Math.imul(31, hash) + byte) | 0;
    }
    hash = (Math.imul(31, hash) + HASH_SIGN) | 0;
    for (let at = keyAt; at < keyEnd; at++) {
      const byte = bytes[at]!;
      seen |= byte;
      hash = (Math.imul(31, hash) + byte) | 0;
    }
    if (seen < FIRST_NON_ASCII) return positive(hash);
    const textOf = (from: number, to: number) => new TextDecoder().decode(bytes.slice(from, to));
    return indexHash(textOf(topicAt, topicEnd), textOf(keyAt, keyEnd));
  }

  #add(hash: number, position: number, storeTimestampMs: number): void {
    let file = this.#files.at(-1);
    if (file === undefined || file.isFull) file = this.#roll(file);
    file.add(hash, position, storeTimestampMs);
    this.itemCount++;
    if (!file.isFull) return;
    file.drain();
    this.#finishing.push(file);
  }

  #roll(full: IndexFile | undefined): IndexFile {
    const file = this.#fileOf(indexFileName(Date.now(), full?.name));
    file.create(full);
    this.#files.push(file);
    this.#unsynced.add(file);
    this.#directoryIsUnsynced = true;
    return file;
  }

  /** Writes a bounded part of a full file's slots. */
  step(): void {
    const file = this.#finishing[0];
    if (file !== undefined && file.writeSlots(STEP_BYTES) === 0) this.#finishing.shift();
  }

  /** Writes the gathered items. */
  drain(): void {
    const file = this.#files.at(-1);
    if (file?.isLive !== true) return;
    file.drain();
    this.#unsynced.add(file);
  }

  /** Makes durable what was drained before. */
  async sync(): Promise<void> {
    const files = [...this.#unsynced];
    this.#unsynced.clear();
    const finished = files.filter((file) => file.isFull && !this.#finishing.includes(file));
    // One that retention has deleted meanwhile needs no sync.
    for (const file of files) if (this.#files.includes(file)) await file.sync();
    if (this.#directoryIsUnsynced) {
      this.#directoryIsUnsynced = false;
      await this.options.storage.syncDirectoryAside(this.directory);
    }
    for (const file of finished) {
      file.settle();
      this.fullUntilMs = Math.max(this.fullUntilMs, file.endTimestampMs);
    }
    for (const file of files) if (file.isFull && file.isLive) this.#unsynced.add(file);
  }

  /** Writes and syncs everything: closed, the files are RocketMQ's. */
  async flushAll(): Promise<void> {
    this.drain();
    this.#finishing = [];
    for (const file of this.#files) {
      if (!file.isLive) continue;
      file.writeSlots(Number.POSITIVE_INFINITY);
      file.writeHeader();
      this.#unsynced.add(file);
    }
    await this.sync();
  }

  /** Deletes one file that points only below `position`, but never the last. @returns its path */
  removeBelow(position: number): string | undefined {
    const [oldest, ...others] = this.#files;
    if (oldest === undefined || others.length === 0 || oldest.endPosition >= position) return undefined;
    this.#files.shift();
    this.#unsynced.delete(oldest);
    this.#finishing = this.#finishing.filter((file) => file !== oldest);
    oldest.remove();
    return oldest.path;
  }

  /**
   * Positions of records that may have a key of that hash, stored in that time or within a second of it, the newest
   * first, none twice. @throws CorruptDataError where a chain leads to what cannot be its next item
   */
  *candidates(hash: number, fromMs: number, toMs: number): Generator<number> {
    const item: IndexItem = { hash: 0, position: 0, seconds: 0, previous: 0 };
    let last = -1;
    for (const file of this.#files.toReversed()) {
      if (file.endTimestampMs < fromMs) return;
      if (file.beginTimestampMs > toMs) continue;
      let position = file.endPosition;
      for (let number = file.newest(hash); number > 0; number = item.previous) {
        file.readItem(number, item);
        file.checkItem(item, number, hash, position);
        position = item.position;
        const storedMs = file.beginTimestampMs + (number === 1 ? 0 : item.seconds * SECOND_MS);
        if (storedMs + SECOND_MS <= fromMs) break;
        if (item.hash === hash && storedMs <= toMs && position !== last) {
          last = position;
          yield position;
        }
      }
    }
  }
}

/** What the index keeps of a key: Java's hash of `topic#key` without its sign, 0 for the one that has no positive. */
export function indexHash(topic: string, key: string): number {
  return positive(javaStringHash(`${topic}#${key}`));
}

function positive(hash: number): number {
  return Math.max(0, Math.abs(hash) | 0);
}
