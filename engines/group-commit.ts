import type { EngineListener, PartitionHandle } from "./engine.js";
import type { FlushPolicy } from "./flush-policy.js";

/**
 * Acknowledges the appends of one independently flushed log (a partition's, or the shared commitlog) by the flush policy.
 * Appends that wait for a sync share one: a sync begins at `poll` when none is under way, and takes along all that was
 * written before it began.
 */
export class GroupCommit {
  constructor(_options: {
    policy: FlushPolicy;
    /** Makes durable all that was written before the call. */
    sync: () => Promise<void>;
    listener: EngineListener;
  }) {
    throw new Error("not written yet");
  }

  /** The messages' bytes are with the kernel. Acknowledges them, or under `sync` queues them. @throws LogFailedError */
  written(_partition: PartitionHandle, _baseOffset: number, _messageCount: number): void {}

  /** Starts the sync that the policy says is due. */
  poll(_nowMs: number): void {}

  /** Resolves when all that was written before is synced (and acknowledged). @throws LogFailedError */
  async flush(): Promise<void> {}
}
