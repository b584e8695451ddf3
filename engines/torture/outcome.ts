import { valueAt } from "../engine.contract-driver.js";

/** What the crashes of one trial, or of many, cost. */
export interface Outcome {
  acknowledgedMessages: number;
  /** Acknowledged, and gone after the crash: `lostBytes` are those of their values. */
  lostMessages: number;
  lostBytes: number;
  /** Greatest time from the acknowledgement of a lost message to the crash. */
  oldestLostMs: number;
  /** Openings of a directory that had not been closed, and the repairs that they reported. */
  recoveries: number;
  repairs: number;
  /** What is wrong, a sentence each: lost against the promise, altered, out of order. */
  wrongs: string[];
}

export function noOutcome(): Outcome {
  return {
    acknowledgedMessages: 0,
    lostMessages: 0,
    lostBytes: 0,
    oldestLostMs: 0,
    recoveries: 0,
    repairs: 0,
    wrongs: [],
  };
}

/** Adds the loss of acknowledged messages `fromOffset` to `toOffset` - 1 of a partition. */
export function addLoss(
  outcome: Outcome,
  loss: { topic: string; index: number; fromOffset: number; toOffset: number; oldestMs: number },
): void {
  for (let offset = loss.fromOffset; offset < loss.toOffset; offset++) {
    outcome.lostMessages++;
    outcome.lostBytes += valueAt(loss.topic, loss.index, offset).byteLength;
  }
  if (loss.toOffset > loss.fromOffset) outcome.oldestLostMs = Math.max(outcome.oldestLostMs, loss.oldestMs);
}

export function addOutcome(sum: Outcome, part: Outcome): void {
  sum.acknowledgedMessages += part.acknowledgedMessages;
  sum.lostMessages += part.lostMessages;
  sum.lostBytes += part.lostBytes;
  sum.oldestLostMs = Math.max(sum.oldestLostMs, part.oldestLostMs);
  sum.recoveries += part.recoveries;
  sum.repairs += part.repairs;
  sum.wrongs.push(...part.wrongs);
}
