import { readInt64, writeInt64 } from "../codec/commitlog-message.js";
import { CorruptDataError } from "../errors.js";
import type { StorageFile } from "../storage/storage.js";
import type { OpenFiles } from "./open-files.js";

/**
 * One file of the key index: a hash table whose chains are linked through its items, the newest first.
 *
 *   at                        bytes  field
 *    0                            8  beginTimestamp  i64  store time of the first item, ms
 *    8                            8  endTimestamp    i64  of the last
 *   16                            8  beginPosition   i64  where the first item's record stands in the commitlog
 *   24                            8  endPosition     i64  the last's
 *   32                            4  usedSlots       i32
 *   36                            4  nextItem        i32  number of the next item; the first is 1, a stored 0 means 1
 *   40              4 * slotCount    slots           i32  number of the newest item of the chain, 0 = none
 *   40 + 4 * slots  20 * itemCount   items
 *
 *   item  0  4  hash        i32  of topic#key, see key-index.ts; slot = hash mod slotCount
 *         4  8  position    i64  where the record stands in the commitlog
 *        12  4  seconds     i32  store time minus beginTimestamp, whole seconds, not below 0
 *        16  4  previous    i32  the chain's next older item: what the slot held before
 *
 * Big-endian. The file has its full size from the start, sparse. A file begun behind another takes that one's end for
 * its begin until its first item is in it, so that item's seconds count from there; the begin is then its own.
 *
 * What is unlike RocketMQ is where the bytes are meanwhile: it maps the file and writes into it as it goes. Here items
 * are gathered and written 64 KiB at a time, and the slots of the newest file stay in memory (they follow from the
 * items) until the file is full or closed: random stores into a mapping of 20 MB would cost a page fault each, and a
 * full disk the process.
 *
 * Source: RocketMQ, store/index/IndexFile.java, IndexHeader.java.
 */
export interface IndexGeometry {
  readonly slotCount: number;
  /** One of them, item 0, is never used. */
  readonly itemCount: number;
}

export interface IndexItem {
  hash: number;
  position: number;
  seconds: number;
  previous: number;
}

const HEADER_SIZE_BYTES = 8 * 4 + 4 * 2;
const SLOT_SIZE_BYTES = 4;
const ITEM_SIZE_BYTES = 4 + 8 + 4 + 4;
const BUFFERED_ITEMS = 3_276;
const SLOT_PAGE_BYTES = 4_096;
const MAX_SECONDS = 0x7fff_ffff;

export function indexFileSize({ slotCount, itemCount }: IndexGeometry): number {
  return HEADER_SIZE_BYTES + slotCount * SLOT_SIZE_BYTES + itemCount * ITEM_SIZE_BYTES;
}

/** The slots of a file that is being written, and items on their way to it. */
interface LivePart {
  readonly slots: DataView;
  /** One byte for each page of slots: 1 = not written. */
  readonly dirtyPages: Uint8Array;
  /** Pages below are clean. */
  firstDirtyPage: number;
  readonly buffer: Uint8Array;
  readonly bufferView: DataView;
}

export class IndexFile {
  beginTimestampMs = 0;
  endTimestampMs = 0;
  beginPosition = 0;
  endPosition = 0;
  nextItem = 1;
  #usedSlots = 0;
  /** Items from here on are in the buffer. */
  #firstBuffered = 1;
  #live: LivePart | null = null;
  readonly #itemBytes = new Uint8Array(ITEM_SIZE_BYTES);
  readonly #itemView = new DataView(this.#itemBytes.buffer);

  constructor(
    private readonly files: OpenFiles,
    private readonly geometry: IndexGeometry,
    readonly path: string,
    /** Of an older file: its first item's seconds count from that one's end. */
    readonly hasPredecessor: boolean,
    private readonly counters: { indexBytes: number },
  ) {}

  get name(): string {
    return this.path.slice(this.path.lastIndexOf("/") + 1);
  }

  get isFull(): boolean {
    return this.nextItem >= this.geometry.itemCount;
  }

  /** Its slots are in memory, and need not be right in the file. */
  get isLive(): boolean {
    return this.#live !== null;
  }

  /** Makes the file, and what the one before it ended with its begin. */
  create(predecessor: IndexFile | undefined): void {
    this.files.create(this.path, indexFileSize(this.geometry));
    if (predecessor !== undefined) {
      this.beginTimestampMs = predecessor.endTimestampMs;
      this.endTimestampMs = predecessor.endTimestampMs;
      this.beginPosition = predecessor.endPosition;
      this.endPosition = predecessor.endPosition;
    }
    this.#live = this.#newLivePart();
  }

  readHeader(): void {
    const bytes = new Uint8Array(HEADER_SIZE_BYTES);
    this.#file.read(bytes, 0, HEADER_SIZE_BYTES, 0);
    const view = new DataView(bytes.buffer);
    this.beginTimestampMs = readInt64(view, 0);
    this.endTimestampMs = readInt64(view, 8);
    this.beginPosition = readInt64(view, 16);
    this.endPosition = readInt64(view, 24);
    this.#usedSlots = view.getInt32(32);
    this.nextItem = Math.max(1, view.getInt32(36));
    this.#firstBuffered = this.nextItem;
  }

  /** Takes the slots into memory, so that items can be added. */
  readSlots(): void {
    const live = this.#newLivePart();
    const bytes = new Uint8Array(live.slots.buffer);
    this.#file.read(bytes, 0, bytes.length, HEADER_SIZE_BYTES);
    this.#live = live;
  }

  /**
   * Reads the items again and makes the slots of them, up to the first that is of `until` or behind it, or that is none.
   * @returns false if it holds fewer than its header says, or nothing that makes sense: then it is of no use
   */
  rebuild(until: number): boolean {
    const said = this.nextItem;
    const live = this.#newLivePart();
    live.dirtyPages.fill(1); // whatever stands in the file
    live.firstDirtyPage = 0;
    this.#usedSlots = 0;
    const item: IndexItem = { hash: 0, position: 0, seconds: 0, previous: 0 };
    const chunk = new Uint8Array(BUFFERED_ITEMS * ITEM_SIZE_BYTES);
    const view = new DataView(chunk.buffer);
    let count = 1;
    let lastPosition = 0;
    let endsAtUntil = false;
    scan: while (count < this.geometry.itemCount) {
      const wanted = Math.min(BUFFERED_ITEMS, this.geometry.itemCount - count);
      this.#file.read(chunk, 0, wanted * ITEM_SIZE_BYTES, this.#itemAt(count));
      for (let at = 0; at < wanted * ITEM_SIZE_BYTES; at += ITEM_SIZE_BYTES, count++) {
        decodeItem(view, at, item);
        const isNone = item.hash < 0 || item.position < lastPosition || (item.hash === 0 && item.position === 0);
        if (isNone || item.previous !== live.slots.getInt32(this.#slotAt(item.hash))) break scan;
        endsAtUntil = item.position >= until;
        if (endsAtUntil || (count === 1 && item.position !== this.beginPosition)) break scan;
        this.#takeSlot(live, item.hash, count);
        lastPosition = item.position;
      }
    }
    if (count < said && !endsAtUntil) return false;
    this.nextItem = count;
    this.#firstBuffered = count;
    this.endPosition = lastPosition;
    this.#live = live;
    return true;
  }

  /** Puts zeros behind the last item. */
  clearRest(): void {
    this.#file.truncate(this.#itemAt(this.nextItem));
    this.#file.truncate(indexFileSize(this.geometry));
  }

  /** Adds an item to a live file that is not full. */
  add(hash: number, position: number, storeTimestampMs: number): void {
    const live = this.#live!;
    const number = this.nextItem;
    const begunMs = this.beginTimestampMs;
    const seconds = begunMs <= 0 ? 0 : Math.floor((storeTimestampMs - begunMs) / 1_000);
    const at = (number - this.#firstBuffered) * ITEM_SIZE_BYTES;
    const { bufferView } = live;
    bufferView.setInt32(at, hash);
    writeInt64(bufferView, at + 4, position);
    bufferView.setInt32(at + 12, Math.max(0, Math.min(seconds, MAX_SECONDS)));
    bufferView.setInt32(at + 16, this.#takeSlot(live, hash, number));
    if (number === 1) {
      this.beginTimestampMs = storeTimestampMs;
      this.beginPosition = position;
    }
    this.endTimestampMs = storeTimestampMs;
    this.endPosition = position;
    this.nextItem = number + 1;
    if (this.nextItem - this.#firstBuffered === BUFFERED_ITEMS) this.drain();
  }

  /** Makes the slot of `hash` point at item `number`. @returns what it pointed at */
  #takeSlot(live: LivePart, hash: number, number: number): number {
    const at = this.#slotAt(hash);
    const previous = live.slots.getInt32(at);
    live.slots.setInt32(at, number);
    const page = Math.floor(at / SLOT_PAGE_BYTES);
    live.dirtyPages[page] = 1;
    if (page < live.firstDirtyPage) live.firstDirtyPage = page;
    if (previous === 0) this.#usedSlots++;
    return previous;
  }

  #slotAt(hash: number): number {
    return (hash % this.geometry.slotCount) * SLOT_SIZE_BYTES;
  }

  /** Writes the gathered items, and then the header that counts them. */
  drain(): void {
    const live = this.#live;
    const count = this.nextItem - this.#firstBuffered;
    if (live === null || count === 0) return;
    this.#file.write(live.buffer, 0, count * ITEM_SIZE_BYTES, this.#itemAt(this.#firstBuffered));
    this.counters.indexBytes += count * ITEM_SIZE_BYTES;
    this.#firstBuffered = this.nextItem;
    this.writeHeader();
  }

  writeHeader(): void {
    const bytes = new Uint8Array(HEADER_SIZE_BYTES);
    const view = new DataView(bytes.buffer);
    writeInt64(view, 0, this.beginTimestampMs);
    writeInt64(view, 8, this.endTimestampMs);
    writeInt64(view, 16, this.beginPosition);
    writeInt64(view, 24, this.endPosition);
    view.setInt32(32, this.#usedSlots);
    view.setInt32(36, this.nextItem);
    this.#file.write(bytes, 0, HEADER_SIZE_BYTES, 0);
    this.counters.indexBytes += HEADER_SIZE_BYTES;
  }

  /** Writes slots that the file does not have yet, at most about `maxBytes`. @returns bytes written, 0 = all are there */
  writeSlots(maxBytes: number): number {
    const live = this.#live;
    if (live === null) return 0;
    const { dirtyPages, slots } = live;
    const bytes = new Uint8Array(slots.buffer);
    let written = 0;
    let page = live.firstDirtyPage;
    while (page < dirtyPages.length && written < maxBytes) {
      if (dirtyPages[page] === 0) {
        page++;
        continue;
      }
      const from = page;
      while (page < dirtyPages.length && dirtyPages[page] === 1 && (page - from) * SLOT_PAGE_BYTES < maxBytes) {
        dirtyPages[page++] = 0;
      }
      const at = from * SLOT_PAGE_BYTES;
      const sizeBytes = Math.min(page * SLOT_PAGE_BYTES, bytes.length) - at;
      this.#file.write(bytes, at, sizeBytes, HEADER_SIZE_BYTES + at);
      written += sizeBytes;
    }
    live.firstDirtyPage = page;
    this.counters.indexBytes += written;
    return written;
  }

  /** The file has all: its slots need not stay in memory. */
  settle(): void {
    this.#live = null;
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  remove(): void {
    this.#live = null;
    this.files.remove(this.path);
  }

  /** The newest item of the chain of `hash`, 0 = none. @throws CorruptDataError if it names none that there is */
  newest(hash: number): number {
    const at = this.#slotAt(hash);
    if (this.#live !== null) return this.#live.slots.getInt32(at);
    const bytes = new Uint8Array(SLOT_SIZE_BYTES);
    this.#file.read(bytes, 0, SLOT_SIZE_BYTES, HEADER_SIZE_BYTES + at);
    const number = new DataView(bytes.buffer).getInt32(0);
    if (number >= 0 && number < this.nextItem) return number;
    throw new CorruptDataError(`A slot with the item ${number}, which is none`, this.path, HEADER_SIZE_BYTES + at);
  }

  /**
   * Whether item `number` can be the next of the chain of `hash`, behind one whose record stands at `newerPosition`.
   * @throws CorruptDataError
   */
  checkItem(item: IndexItem, number: number, hash: number, newerPosition: number): void {
    const belongs =
      item.hash >= 0 &&
      this.#slotAt(item.hash) === this.#slotAt(hash) &&
      item.position >= this.beginPosition &&
      item.position <= newerPosition &&
      item.previous >= 0 &&
      item.previous < number;
    if (belongs) return;
    throw new CorruptDataError(`Item ${number}, which cannot be of its chain`, this.path, this.#itemAt(number));
  }

  readItem(number: number, into: IndexItem): void {
    if (this.#live !== null && number >= this.#firstBuffered) {
      decodeItem(this.#live.bufferView, (number - this.#firstBuffered) * ITEM_SIZE_BYTES, into);
      return;
    }
    this.#file.read(this.#itemBytes, 0, ITEM_SIZE_BYTES, this.#itemAt(number));
    decodeItem(this.#itemView, 0, into);
  }

  get #file(): StorageFile {
    return this.files.get(this.path);
  }

  #itemAt(number: number): number {
    return HEADER_SIZE_BYTES + this.geometry.slotCount * SLOT_SIZE_BYTES + number * ITEM_SIZE_BYTES;
  }

  #newLivePart(): LivePart {
    const slotBytes = this.geometry.slotCount * SLOT_SIZE_BYTES;
    const buffer = new Uint8Array(BUFFERED_ITEMS * ITEM_SIZE_BYTES);
    return {
      slots: new DataView(new ArrayBuffer(slotBytes)),
      dirtyPages: new Uint8Array(Math.ceil(slotBytes / SLOT_PAGE_BYTES)),
      firstDirtyPage: Number.POSITIVE_INFINITY,
      buffer,
      bufferView: new DataView(buffer.buffer),
    };
  }
}

function decodeItem(view: DataView, at: number, into: IndexItem): void {
  into.hash = view.getInt32(at);
  into.position = readInt64(view, at + 4);
  into.seconds = view.getInt32(at + 12);
  into.previous = view.getInt32(at + 16);
}
