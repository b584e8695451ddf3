import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";

const SECTOR_BYTES = 512;
const PAGE_BYTES = 4_096;
const MAP_GRAIN_BYTES = 65_536;

/** A change to a file that the device does not hold yet. */
type Change =
  | { readonly kind: "write"; readonly positionBytes: number; readonly bytes: Uint8Array; readonly grainBytes: number }
  | { readonly kind: "resize"; readonly sizeBytes: number };

/** A window of the heap that stands for a mapping; `seen` is what it held when it last agreed with the file. */
export interface MappedWindow {
  readonly address: number;
  readonly positionBytes: number;
  readonly seen: Uint8Array;
}

/**
 * A file as a test's device and page cache see it: what programs read now, what the device holds for certain, and the
 * changes between the two, in order.
 *
 *   write, truncate, stores into windows ──► current ──► (sync) ──► durable
 *                                              └─ changes ────────────┘
 */
export class FaultyInode {
  /** When the content was last changed. */
  modifiedMs = Date.now();
  readonly #current: GrowingBytes;
  readonly #durable: GrowingBytes;
  readonly #windows = new Set<MappedWindow>();
  #changes: Change[] = [];
  /** How many changes have left `#changes`: the first one in it has this number. */
  #settledChanges = 0;

  constructor(
    private readonly heap: Heap,
    durable: Uint8Array = new Uint8Array(),
  ) {
    this.#current = new GrowingBytes(durable);
    this.#durable = new GrowingBytes(durable);
  }

  get sizeBytes(): number {
    return this.#current.sizeBytes;
  }

  write(positionBytes: number, bytes: Uint8Array, grainBytes: number): void {
    this.#absorbStores();
    this.#change({ kind: "write", positionBytes, bytes: bytes.slice(), grainBytes });
    this.#refreshWindows();
  }

  read(positionBytes: number, sizeBytes: number): Uint8Array {
    this.#absorbStores();
    return this.#current.bytes().subarray(positionBytes, positionBytes + sizeBytes);
  }

  resize(sizeBytes: number): void {
    this.#absorbStores();
    for (const window of this.#windows) {
      const end = window.positionBytes + window.seen.byteLength;
      invariant(end <= sizeBytes, "a file is not cut below what is mapped of it: a store there would end the process");
    }
    this.#change({ kind: "resize", sizeBytes });
  }

  map(address: number, sizeBytes: number, positionBytes: number): MappedWindow {
    invariant(
      address % MAP_GRAIN_BYTES === 0 && positionBytes % MAP_GRAIN_BYTES === 0,
      "a mapping begins on a multiple of 64 KiB, in the heap and in the file",
    );
    invariant(
      sizeBytes > 0 && positionBytes + sizeBytes <= this.sizeBytes,
      "a mapping lies within the file: allocate or truncate it to its size first",
    );
    const content = this.read(positionBytes, sizeBytes);
    this.heap.bytes.set(content, address);
    const window = { address, positionBytes, seen: content.slice() };
    this.#windows.add(window);
    return window;
  }

  unmap(window: MappedWindow): void {
    this.#absorbStores();
    this.#windows.delete(window);
    this.heap.bytes.fill(0, window.address, window.address + window.seen.byteLength);
  }

  /** A sync begins: its number is what `finishSync` and `loseUnsynced` take. */
  beginSync(): number {
    this.#absorbStores();
    return this.#settledChanges + this.#changes.length;
  }

  /** All changes made before that sync began are on the device, of those to the bytes `from` to `to`. */
  finishSync(number: number, from = 0, to = Infinity): void {
    for (const change of this.#takeChanges(number, from, to)) apply(change, this.#durable);
  }

  /**
   * That sync failed: as Linux does, the page cache forgets that those changes were never written, so programs go on
   * reading them, and no later sync brings them to the device.
   */
  loseUnsynced(number: number, from = 0, to = Infinity): void {
    this.#takeChanges(number, from, to);
  }

  /** What programs read now: what is left when a process ends and the machine goes on. */
  liveImage(): Uint8Array {
    return this.read(0, this.sizeBytes).slice();
  }

  /** What may be on the device after a power cut: all that was synced, and of the changes since whatever `random` says. */
  cutImage(random: () => number): Uint8Array {
    this.#absorbStores();
    const image = new GrowingBytes(this.#durable.bytes());
    const fate = random();
    if (fate < 0.15) return image.bytes().slice();
    const keeps = fate < 0.3 ? () => true : fate < 0.5 ? prefixOf(this.#changes.length, random) : () => random() < 0.5;
    for (const change of this.#changes) {
      if (keeps()) apply(change, image);
      else if (change.kind === "write" && random() < 0.5) applyTorn(change, image, random);
    }
    return image.bytes().slice();
  }

  #change(change: Change): void {
    this.modifiedMs = Date.now();
    this.#changes.push(change);
    apply(change, this.#current);
  }

  /** A change that is left behind keeps a number below those of the changes made after it. */
  #takeChanges(number: number, from: number, to: number): Change[] {
    const count = number - this.#settledChanges;
    const taken = this.#changes.filter((change, index) => index < count && isWithin(change, from, to));
    const settled = new Set(taken);
    this.#changes = this.#changes.filter((change) => !settled.has(change));
    this.#settledChanges += taken.length;
    return taken;
  }

  /**
   * Turns what was stored into the windows into changes, page by page. Byte by byte it is the window that differs from
   * what it last held that is right: the same page may be mapped twice.
   */
  #absorbStores(): void {
    if (this.#windows.size === 0) return;
    const dirtyPages = new Set<number>();
    const content = this.#current.bytes();
    for (const { address, positionBytes, seen } of this.#windows) {
      for (let page = 0; page < seen.byteLength; page += PAGE_BYTES) {
        const end = Math.min(page + PAGE_BYTES, seen.byteLength);
        const stored = this.heap.bytes.subarray(address + page, address + end);
        if (Buffer.compare(stored, seen.subarray(page, end)) === 0) continue;
        for (let i = page; i < end; i++) {
          if (stored[i - page] !== seen[i]) content[positionBytes + i] = stored[i - page]!;
        }
        dirtyPages.add(positionBytes + page);
      }
    }
    if (dirtyPages.size === 0) return;
    for (const positionBytes of dirtyPages) {
      const bytes = content.slice(positionBytes, positionBytes + PAGE_BYTES);
      this.#changes.push({ kind: "write", positionBytes, bytes, grainBytes: PAGE_BYTES });
    }
    this.#refreshWindows();
  }

  #refreshWindows(): void {
    const content = this.#current.bytes();
    for (const { address, positionBytes, seen } of this.#windows) {
      seen.set(content.subarray(positionBytes, positionBytes + seen.byteLength));
      this.heap.bytes.set(seen, address);
    }
  }
}

/** A file's size goes to the device with any of its bytes. */
function isWithin(change: Change, from: number, to: number): boolean {
  if (change.kind === "resize") return true;
  return change.positionBytes < to && change.positionBytes + change.bytes.byteLength > from;
}

function apply(change: Change, target: GrowingBytes): void {
  if (change.kind === "resize") target.resize(change.sizeBytes);
  else target.write(change.positionBytes, change.bytes);
}

/** The first so many of `count`, a random number of them. */
function prefixOf(count: number, random: () => number): () => boolean {
  let left = Math.floor(random() * (count + 1));
  return () => left-- > 0;
}

/** Each sector or page of the write arrives or not; the file may have grown over those that did not: they are zeros. */
function applyTorn(change: Change & { kind: "write" }, target: GrowingBytes, random: () => number): void {
  const { positionBytes, bytes } = change;
  const grainBytes = random() < 0.5 ? change.grainBytes : Math.max(change.grainBytes, PAGE_BYTES);
  const end = positionBytes + bytes.byteLength;
  if (random() < 0.5 && end > target.sizeBytes) target.resize(end);
  for (let at = positionBytes; at < end; ) {
    const next = Math.min(end, at - (at % grainBytes) + grainBytes);
    if (random() < 0.5) target.write(at, bytes.subarray(at - positionBytes, next - positionBytes));
    at = next;
  }
}

/** Tearing at a sector is what a write through the page cache can suffer; a mapped page arrives whole or not. */
export const WRITE_GRAIN_BYTES = SECTOR_BYTES;

/** Bytes that grow, zeros where nothing was written. */
class GrowingBytes {
  sizeBytes: number;
  #storage: Uint8Array;

  constructor(content: Uint8Array) {
    this.#storage = content.slice();
    this.sizeBytes = content.byteLength;
  }

  /** The content itself, not a copy: until the next change of size. */
  bytes(): Uint8Array {
    return this.#storage.subarray(0, this.sizeBytes);
  }

  write(positionBytes: number, bytes: Uint8Array): void {
    const end = positionBytes + bytes.byteLength;
    if (end > this.sizeBytes) this.resize(end);
    this.#storage.set(bytes, positionBytes);
  }

  resize(sizeBytes: number): void {
    if (sizeBytes > this.#storage.byteLength) {
      const grown = new Uint8Array(Math.max(sizeBytes, this.#storage.byteLength * 2));
      grown.set(this.bytes());
      this.#storage = grown;
    } else if (sizeBytes < this.sizeBytes) {
      this.#storage.fill(0, sizeBytes, this.sizeBytes);
    }
    this.sizeBytes = sizeBytes;
  }
}
