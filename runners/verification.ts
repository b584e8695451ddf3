import type { PartitionHandle, StorageEngine, StoredMessage } from "../engines/engine.js";
import type { Verification } from "../results/schema.js";
import type { MessageStream, SentMessages } from "./message-stream.js";

const FETCH_SIZE_BYTES = 1024 * 1024;
/** After so many problems the rest adds nothing. */
const PROBLEM_LIMIT = 20;

export interface Expectation {
  /** The partitions in the order of creation, and how many messages of each were acknowledged. */
  readonly partitions: readonly { readonly handle: PartitionHandle; readonly name: string; readonly count: number }[];
  readonly stream: MessageStream;
  /** Of all partitions together, how many of the youngest messages retention leaves at least; null: it deletes none. */
  readonly keptCount: number | null;
}

/**
 * Reads back all that was acknowledged and compares it with what was sent: count, order, and every byte. More than was
 * acknowledged is wrong too: everything sent has been acknowledged by then, so the rest would be duplicates. Where retention
 * deletes, a partition may begin later, but nothing may be missing behind its start, nor more than retention lets go.
 */
export async function verify(
  engine: StorageEngine,
  expectation: Expectation,
  nowNs: () => number,
): Promise<Verification> {
  const startedNs = nowNs();
  const counts = expectation.partitions.map(({ count }) => count);
  const { keptCount } = expectation;
  const reader = new Reader(expectation.stream.messages, expectation.stream.sent(counts), keptCount !== null);
  for (const [place, partition] of expectation.partitions.entries()) {
    if (reader.problems.length >= PROBLEM_LIMIT) break;
    await reader.read(engine, place, partition);
  }
  const { problems, readMessages, checkedBytes, deletedMessages } = reader;
  const expectedMessages = expectation.partitions.reduce((sum, { count }) => sum + count, 0);
  const leftCount = expectedMessages - deletedMessages;
  if (keptCount !== null && leftCount < Math.min(keptCount, expectedMessages)) {
    problems.push(
      `Retention deleted ${deletedMessages} of ${expectedMessages} messages and left ${leftCount}, but had to leave ${keptCount}.`,
    );
  }
  return {
    outcome: problems.length === 0 ? "passed" : "failed",
    expectedMessages,
    readMessages,
    checkedBytes,
    ...(keptCount === null ? {} : { deletedMessages }),
    durationNs: nowNs() - startedNs,
    problems,
  };
}

class Reader {
  readonly problems: string[] = [];
  readMessages = 0;
  checkedBytes = 0;
  /** Below the partitions' starts. */
  deletedMessages = 0;
  #name = "";
  #place = 0;
  #nextOffset = 0;

  constructor(
    readonly messages: MessageStream["messages"],
    readonly sent: SentMessages,
    readonly mayBeginLater: boolean,
  ) {}

  async read(engine: StorageEngine, place: number, partition: Expectation["partitions"][number]): Promise<void> {
    this.#name = partition.name;
    this.#place = place;
    this.#nextOffset = 0;
    try {
      const { startOffset, endOffset } = engine.partitionInfo(partition.handle);
      if (startOffset !== 0 && !this.mayBeginLater) this.#report(`begins at offset ${startOffset}`);
      else this.#nextOffset = Math.min(startOffset, partition.count);
      this.deletedMessages += this.#nextOffset;
      if (endOffset !== partition.count) {
        this.#report(`ends at offset ${endOffset}, but ${partition.count} messages were acknowledged`);
      }
      while (this.#nextOffset < partition.count && this.problems.length < PROBLEM_LIMIT) {
        const before = this.#nextOffset;
        await engine.fetch(partition.handle, before, FETCH_SIZE_BYTES, this.#check);
        if (this.#nextOffset === before) {
          this.#report(`yields nothing at offset ${before} of ${partition.count}`);
          return;
        }
      }
    } catch (error) {
      this.#report(`cannot be read at offset ${this.#nextOffset}: ${error instanceof Error ? error.message : error}`);
    }
  }

  readonly #check = (message: StoredMessage): void => {
    const offset = this.#nextOffset;
    this.readMessages++;
    if (message.offset !== offset) {
      this.#report(`yields offset ${message.offset} where ${offset} is next`);
      this.#nextOffset = message.offset + 1;
      return;
    }
    this.#nextOffset++;
    const { value, key } = this.messages[this.sent.at(this.#place, offset)]!;
    if (!equals(message.value, value) || !equals(message.key, key)) {
      this.#report(`holds other bytes at offset ${offset} than were sent`);
      return;
    }
    this.checkedBytes += (value?.byteLength ?? 0) + (key?.byteLength ?? 0);
  };

  #report(finding: string): void {
    if (this.problems.length < PROBLEM_LIMIT) this.problems.push(`Partition ${this.#name} ${finding}.`);
  }
}

function equals(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0;
}
