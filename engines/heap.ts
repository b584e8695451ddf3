import { getEnvironmentData, isMainThread, setEnvironmentData } from "node:worker_threads";
import { invariant } from "./invariant.js";

const PAGE_SIZE_BYTES = 65_536;
/** 3 GiB of address space, of which only the touched pages take memory: two 1 GiB commitlog files and the rest. */
const HEAP_PAGES = 49_152;
/**
 * Where a file's position and the machine's address agree to a multiple of this, Linux maps the page cache's large folios
 * whole: faulting 64 MiB in took 23 ms so and 110 ms otherwise (kernel 6.18, ext4).
 */
const LARGE_PAGE_SIZE_BYTES = 2 << 20;
/** Address 0 stays unused, so that 0 can never be a valid address by accident. */
const FIRST_ADDRESS = PAGE_SIZE_BYTES;
/** Under this name worker threads find the memory of the thread that started them. */
const ENVIRONMENT_KEY = "logduel.heap";

/**
 * The memory that engines and their WebAssembly kernels share: one per process.
 *
 * Payloads, batch buffers and mapped files all lie in this one address space, so a kernel goes from a message's bytes to
 * the page cache with one copy, and JavaScript is not between. It never grows: growing would move what is mapped into
 * it. It is shared memory: a worker thread has a heap over the same memory, in which it allocates from what it is lent.
 */
export class Heap {
  readonly memory: WebAssembly.Memory;
  /** All of the heap; index = address. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  /** The same as 32-bit words for Atomics (index = address / 4) and as numbers (index = address / 8). */
  readonly words: Int32Array<ArrayBuffer>;
  readonly numbers: Float64Array<ArrayBuffer>;
  /** Free extents, ascending by address, never adjacent. */
  readonly #free: { address: number; sizeBytes: number }[] = [];
  readonly #allocated = new Map<number, number>();
  /** The machine's address of the heap's address 0, modulo LARGE_PAGE_SIZE_BYTES. */
  #basePhaseBytes = 0;

  /** @param lent memory of another thread's heap: nothing of it is free here before it is lent */
  constructor(lent?: WebAssembly.Memory) {
    this.memory = lent ?? new WebAssembly.Memory({ initial: HEAP_PAGES, maximum: HEAP_PAGES, shared: true });
    const { buffer } = this.memory;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.words = new Int32Array(buffer);
    this.numbers = new Float64Array(buffer);
    if (lent === undefined) this.#insertFree(FIRST_ADDRESS, HEAP_PAGES * PAGE_SIZE_BYTES - FIRST_ADDRESS);
  }

  /** What another thread has allocated may be allocated from here, in this thread. */
  lend(address: number, sizeBytes: number): void {
    this.#insertFree(address, sizeBytes);
  }

  /** The storage that maps files says where the heap lies, so that windows are aligned in the machine's address space. */
  liesAt(machineAddress: number): void {
    this.#basePhaseBytes = machineAddress % LARGE_PAGE_SIZE_BYTES;
  }

  /** Takes `sizeBytes` of zero or stale memory. @throws RangeError when the heap is exhausted */
  allocate(sizeBytes: number, alignment = 16): number {
    return this.#allocate(sizeBytes, alignment, 0);
  }

  /** @param phaseBytes address + phase is a multiple of the alignment */
  #allocate(sizeBytes: number, alignment: number, phaseBytes: number): number {
    invariant(sizeBytes > 0 && Number.isSafeInteger(sizeBytes), "a heap allocation has a positive whole size");
    for (let i = 0; i < this.#free.length; i++) {
      const extent = this.#free[i]!;
      const address = Math.ceil((extent.address + phaseBytes) / alignment) * alignment - phaseBytes;
      const end = address + sizeBytes;
      const extentEnd = extent.address + extent.sizeBytes;
      if (end > extentEnd) continue;
      const rest = [
        { address: extent.address, sizeBytes: address - extent.address },
        { address: end, sizeBytes: extentEnd - end },
      ].filter((part) => part.sizeBytes > 0);
      this.#free.splice(i, 1, ...rest);
      this.#allocated.set(address, sizeBytes);
      return address;
    }
    throw new RangeError(
      `The engines' heap has no ${sizeBytes} bytes in one piece left. Use smaller files, buffers or payload pools.`,
    );
  }

  /** A range that a file can be mapped over: page-aligned, both ends. */
  reserveWindow(sizeBytes: number): number {
    const wholePagesBytes = Math.ceil(sizeBytes / PAGE_SIZE_BYTES) * PAGE_SIZE_BYTES;
    if (sizeBytes < LARGE_PAGE_SIZE_BYTES) return this.#allocate(wholePagesBytes, PAGE_SIZE_BYTES, 0);
    return this.#allocate(wholePagesBytes, LARGE_PAGE_SIZE_BYTES, this.#basePhaseBytes);
  }

  release(address: number): void {
    const sizeBytes = this.#allocated.get(address);
    invariant(sizeBytes !== undefined, "only what was allocated is released, and once");
    this.#allocated.delete(address);
    this.#insertFree(address, sizeBytes);
  }

  #insertFree(address: number, sizeBytes: number): void {
    let at = this.#free.findIndex((extent) => extent.address > address);
    if (at === -1) at = this.#free.length;
    this.#free.splice(at, 0, { address, sizeBytes });
    this.#mergeWithNext(at);
    if (at > 0) this.#mergeWithNext(at - 1);
  }

  /** Copies bytes into the heap; a message over the returned view is encoded without passing through JavaScript. */
  place(bytes: Uint8Array): Uint8Array {
    const address = this.allocate(Math.max(1, bytes.byteLength));
    this.bytes.set(bytes, address);
    return this.bytes.subarray(address, address + bytes.byteLength);
  }

  /** Address of bytes that lie in the heap, or -1. */
  addressOf(bytes: Uint8Array | null): number {
    return bytes !== null && bytes.buffer === (this.memory.buffer as ArrayBufferLike) ? bytes.byteOffset : -1;
  }

  #mergeWithNext(at: number): void {
    const extent = this.#free[at]!;
    const next = this.#free[at + 1];
    if (next === undefined || extent.address + extent.sizeBytes !== next.address) return;
    this.#free.splice(at, 2, { address: extent.address, sizeBytes: extent.sizeBytes + next.sizeBytes });
  }
}

const lent = isMainThread ? undefined : (getEnvironmentData(ENVIRONMENT_KEY) as WebAssembly.Memory | undefined);

/** Whether the heap's memory is that of the thread that started this one. */
export const isHeapLent = lent !== undefined;

/** The process's one heap: engines, kernels, payload pools and mapped files share it, and so do worker threads. */
export const heap = new Heap(lent);

if (!isHeapLent)
  setEnvironmentData(ENVIRONMENT_KEY, heap.memory as unknown as Parameters<typeof setEnvironmentData>[1]);
