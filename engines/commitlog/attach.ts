import type { AttachOptions, Writer } from "../engine.js";
import { kernelOf } from "../kernel/kernel.js";
import { Board } from "../writers/board.js";
import { SharedTail } from "./shared-tail.js";
import type { CommitlogTicket } from "./sharing.js";
import { CommitlogWriter } from "./writer.js";

/** In a worker thread: the writer that `openWriter` of the engine has made the ticket for. */
export function attachCommitlogWriter({ ticket, heap, listener }: AttachOptions): Writer {
  const { memory, board: boardAddress, tail, ...rest } = ticket as CommitlogTicket;
  heap.lend(memory.address, memory.sizeBytes);
  const board = new Board(heap, boardAddress);
  return new CommitlogWriter({
    ...rest,
    ...{ heap, kernel: kernelOf(heap), board, listener },
    tail: new SharedTail(heap, tail, board.slotOf(0)),
  });
}
