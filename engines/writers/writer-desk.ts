import type { WriterThread } from "../engine.js";
import { UnsupportedError } from "../errors.js";
import type { Heap } from "../heap.js";
import { type Board, MAX_WRITERS, SlotCounts, SlotState, type WriterCounts } from "./board.js";

/** Memory that a writer's thread gets for payloads, beside what the engine's part of it takes. */
const PAYLOAD_MEMORY_BYTES = 16 << 20;

export interface OpenedWriter {
  /** From 1. */
  readonly writer: number;
  /** Heap memory that is the thread's until it ends. */
  readonly memory: { readonly address: number; readonly sizeBytes: number };
}

/** The owner's list of writers: who has which slot, and what becomes of one whose thread ends without closing it. */
export class WriterDesk {
  /** Slots by writer number; 0 is the owner's own. */
  readonly slots: SlotCounts[] = [];
  /** Counts of writers that have gone and whose slots were given to others. */
  readonly #gone: WriterCounts = {
    appendedMessages: 0,
    acknowledgedMessages: 0,
    batches: 0,
    logBytes: 0,
    writeCalls: 0,
  };
  #isReleased = false;

  constructor(
    private readonly heap: Heap,
    private readonly board: Board,
    /** A writer's thread has ended; it is abandoned if it was not closed before. */
    private readonly ended: (writer: number, isAbandoned: boolean) => void,
  ) {
    this.slots.push(new SlotCounts(heap, board.slotOf(0)));
  }

  /** Writers that may still append, the owner not counted. */
  get attachedCount(): number {
    return this.slots.filter((slot, writer) => writer > 0 && slot.state === SlotState.OPEN).length;
  }

  /** @throws UnsupportedError when there are too many, RangeError when the heap has no room */
  open(thread: WriterThread, engineMemoryBytes: number): OpenedWriter {
    let writer = this.slots.findIndex((slot, i) => i > 0 && slot.state === SlotState.FREE);
    if (writer === -1) writer = this.slots.length;
    if (writer > MAX_WRITERS) throw new UnsupportedError(`A log has ${MAX_WRITERS} writers at most. Close one first.`);
    const sizeBytes = engineMemoryBytes + PAYLOAD_MEMORY_BYTES;
    const address = this.heap.allocate(sizeBytes, 64);
    const slotAddress = this.board.slotOf(writer);
    const slot = new SlotCounts(this.heap, slotAddress);
    this.slots[writer] = slot;
    slot.state = SlotState.OPEN;
    thread.once("exit", () => {
      this.heap.release(address);
      if (this.#isReleased) return;
      this.ended(writer, slot.state === SlotState.OPEN);
      if (this.board.hasFailed) {
        slot.state = SlotState.CLOSED; // what it was in the middle of stays visible
        return;
      }
      this.board.addCounts(writer, this.#gone);
      this.board.clearSlot(writer);
    });
    return { writer, memory: { address, sizeBytes } };
  }

  /** What all writers have done together. */
  counts(): WriterCounts {
    const sum = { ...this.#gone };
    for (const writer of this.slots.keys()) this.board.addCounts(writer, sum);
    return sum;
  }

  release(): void {
    this.#isReleased = true;
    this.board.release();
  }
}
