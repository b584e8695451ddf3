/** The thread behind a ConsumerThread: does what it is told, in order, one reply each; blocks as long as its receiver. */

import { parentPort, workerData } from "node:worker_threads";
import { ClosedError, EngineError, ReceiverGoneError } from "../errors.js";
import {
  RANGE_FIELDS,
  type SourceRange,
  sendRanges,
  type TransferPath,
  type TransferSource,
  transferSource,
} from "./transfer.js";

export type TransferOrder =
  | { readonly kind: "open"; readonly source: number; readonly path: TransferPath; readonly fd: number }
  | { readonly kind: "send"; readonly ranges: Float64Array; readonly isStream: boolean }
  | { readonly kind: "close"; readonly source: number }
  | { readonly kind: "end" };

/** An error cannot cross threads as the class it is. */
export type TransferReply =
  | { readonly kind: "done"; readonly sentBytes: number }
  | { readonly kind: "gone"; readonly sentBytes: number; readonly cause: string }
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

export interface TransferWorkerData {
  readonly socketFd: number;
}

const { socketFd } = workerData as TransferWorkerData;
const sources = new Map<number, TransferSource>();
const port = parentPort!;
let isStreamBroken = false;

port.on("message", (order: TransferOrder) => {
  let reply: TransferReply;
  try {
    reply = { kind: "done", sentBytes: obey(order) };
  } catch (error) {
    reply = asReply(error);
  }
  port.postMessage(reply);
});

function obey(order: TransferOrder): number {
  switch (order.kind) {
    case "open":
      sources.set(order.source, transferSource(order.path, order.fd));
      return 0;
    case "send":
      return order.isStream ? sendNext(order.ranges) : sendAll(order.ranges);
    case "close":
      sources.get(order.source)!.close();
      sources.delete(order.source);
      return 0;
    case "end":
      for (const source of sources.values()) source.close(); // a mapping would outlive the thread
      port.close();
      return 0;
  }
}

/** A stream has no gap: nothing goes out behind what failed or was not all there. */
function sendNext(ranges: Float64Array): number {
  if (isStreamBroken) throw new ClosedError("An earlier send to this consumer failed. Serve a new connection.");
  isStreamBroken = true;
  const sentBytes = sendAll(ranges);
  let wantedBytes = 0;
  for (let at = 0; at < ranges.length; at += RANGE_FIELDS) wantedBytes += ranges[at + 2]!;
  isStreamBroken = sentBytes < wantedBytes;
  return sentBytes;
}

function sendAll(packed: Float64Array): number {
  const ranges: SourceRange[] = [];
  for (let at = 0; at < packed.length; at += RANGE_FIELDS) {
    const source = sources.get(packed[at]!)!;
    ranges.push({ source, positionBytes: packed[at + 1]!, sizeBytes: packed[at + 2]! });
  }
  return sendRanges(socketFd, ranges);
}

function asReply(error: unknown): TransferReply {
  if (error instanceof ReceiverGoneError) {
    return { kind: "gone", sentBytes: error.sentBytes, cause: (error.cause as Error).message };
  }
  const { code, message } = error as NodeJS.ErrnoException;
  return { kind: "failed", code: code ?? (error instanceof EngineError ? error.code : "ERR_TRANSFER"), message };
}
