import { Message } from "../engines/engine.js";
import { heap } from "../engines/registry.js";
import { seededRandom } from "../results/random.js";
import type { Configuration } from "../results/schema.js";
import { partitionOfKey, uniformKeys, zipfKeys } from "./partitioner.js";
import { payloadIndex } from "./payload-pool.js";

/**
 * What is sent next, and to which partition: one seeded rule that sender and verifier share, so that every byte can be
 * checked without stamping messages. Partitions go by their place, 0-based in the order of creation.
 */
export interface MessageStream {
  readonly messages: readonly Message[];
  /** What `choose` chose: the place of its partition, and its index in `messages`. */
  readonly place: number;
  readonly index: number;
  /** Chooses what `producer` sends next; the same again until it was taken. */
  choose(producer: number): void;
  /** The engine took what was chosen. */
  taken(producer: number): void;
  /** Which message is at each offset of each partition, when so many were sent to each. */
  sent(counts: readonly number[]): SentMessages;
  /** Bytes of the keys and values of so many messages of each partition. */
  payloadBytes(counts: readonly number[]): number;
}

export interface SentMessages {
  /** Index in `messages`. */
  at(place: number, offset: number): number;
}

interface StreamOptions {
  /** Distinct, in the heap. */
  readonly values: readonly Uint8Array[];
  readonly messages: Configuration["messages"];
  readonly partitionCount: number;
  readonly producerCount: number;
  readonly seed: number;
}

export function createMessageStream(options: StreamOptions): MessageStream {
  const { keys } = options.messages;
  if (keys === "uniform" || keys === "zipf") {
    return new KeyedStream(options, keys === "zipf" ? zipfKeys : uniformKeys);
  }
  const messages = options.values.map((value) => new Message(heap, value));
  return keys === "sticky"
    ? new StickyStream(messages, options)
    : new RoundRobinStream(messages, options.partitionCount);
}

/** Messages without keys: which one is at an offset follows from partition and offset, whoever sent it. */
abstract class UnkeyedStream implements MessageStream {
  place = 0;
  index = 0;
  /** Of each place, the index of its next message. */
  protected readonly nextIndex: Int32Array;

  constructor(
    readonly messages: readonly Message[],
    partitionCount: number,
  ) {
    this.nextIndex = Int32Array.from({ length: partitionCount }, (_, place) => payloadIndex(place, 0, messages.length));
  }

  abstract choose(producer: number): void;
  abstract taken(producer: number): void;

  sent(): SentMessages {
    return { at: (place, offset) => payloadIndex(place, offset, this.messages.length) };
  }

  payloadBytes(counts: readonly number[]): number {
    const poolSize = this.messages.length;
    const poolBytes = this.messages.reduce((sum, { valueSizeBytes }) => sum + valueSizeBytes, 0);
    let sum = 0;
    for (const [place, count] of counts.entries()) {
      sum += Math.floor(count / poolSize) * poolBytes;
      for (let rest = 0; rest < count % poolSize; rest++) {
        sum += this.messages[payloadIndex(place, rest, poolSize)]!.valueSizeBytes;
      }
    }
    return sum;
  }

  protected advance(): void {
    this.nextIndex[this.place] = this.index + 1 === this.messages.length ? 0 : this.index + 1;
  }
}

/** To one partition after the other. */
class RoundRobinStream extends UnkeyedStream {
  choose(): void {
    this.index = this.nextIndex[this.place]!;
  }

  taken(): void {
    this.advance();
    this.place = this.place + 1 === this.nextIndex.length ? 0 : this.place + 1;
  }
}

/**
 * Each producer stays with a partition for `stickyBytes` of payload and then takes another, drawn evenly, as Kafka's
 * producer does from 3.3 on (KIP-794, without its preference for fast brokers).
 */
class StickyStream extends UnkeyedStream {
  readonly #stickyBytes: number;
  readonly #random: () => number;
  /** Of each producer. */
  readonly #placeOf: Int32Array;
  readonly #sentBytesOf: Float64Array;

  constructor(messages: readonly Message[], options: StreamOptions) {
    super(messages, options.partitionCount);
    this.#stickyBytes = options.messages.stickyBytes;
    this.#random = seededRandom(options.seed);
    this.#placeOf = Int32Array.from({ length: options.producerCount }, () => this.#drawPlace());
    this.#sentBytesOf = new Float64Array(options.producerCount);
  }

  choose(producer: number): void {
    this.place = this.#placeOf[producer]!;
    this.index = this.nextIndex[this.place]!;
  }

  taken(producer: number): void {
    this.advance();
    this.#sentBytesOf[producer]! += this.messages[this.index]!.valueSizeBytes;
    if (this.#sentBytesOf[producer]! < this.#stickyBytes) return;
    this.#sentBytesOf[producer] = 0;
    this.#placeOf[producer] = this.#drawPlace();
  }

  #drawPlace(): number {
    return Math.floor(this.#random() * this.nextIndex.length);
  }
}

/**
 * Every message has a key, and the key its value and its partition. Keys are drawn in the order of sending, whoever sends,
 * so the verifier draws the same sequence again.
 */
class KeyedStream implements MessageStream {
  readonly messages: readonly Message[];
  place = 0;
  index = 0;
  readonly #drawAgain: () => () => number;
  #draw: () => number;
  readonly #placeOf: Int32Array;
  #isChosen = false;

  constructor({ values, partitionCount, seed, messages: { keyCount } }: StreamOptions, distribution: typeof zipfKeys) {
    const keys = Array.from({ length: keyCount }, (_, key) => heap.place(keyBytes(key)));
    this.messages = keys.map((key, index) => new Message(heap, values[index % values.length]!, key));
    this.#placeOf = Int32Array.from(keys, (key) => partitionOfKey(key, partitionCount));
    this.#drawAgain = () => distribution(keyCount, seededRandom(seed));
    this.#draw = this.#drawAgain();
  }

  choose(): void {
    if (this.#isChosen) return;
    this.#isChosen = true;
    this.index = this.#draw();
    this.place = this.#placeOf[this.index]!;
  }

  taken(): void {
    this.#isChosen = false;
  }

  sent(counts: readonly number[]): SentMessages {
    const drawn = counts.map((count) =>
      this.messages.length <= 65_536 ? new Uint16Array(count) : new Uint32Array(count),
    );
    const filled = new Uint32Array(counts.length);
    const draw = this.#drawAgain();
    for (let left = counts.reduce((sum, count) => sum + count, 0); left > 0; ) {
      const index = draw();
      const place = this.#placeOf[index]!;
      // More than were sent of it: the engine acknowledged less of this partition than was drawn, which counts will show.
      if (filled[place]! === counts[place]) break;
      drawn[place]![filled[place]++] = index;
      left--;
    }
    return { at: (place, offset) => drawn[place]![offset]! };
  }

  payloadBytes(counts: readonly number[]): number {
    const sizes = this.messages.map(({ valueSizeBytes, keySizeBytes }) => valueSizeBytes + keySizeBytes);
    const draw = this.#drawAgain();
    let sum = 0;
    for (let left = counts.reduce((total, count) => total + count, 0); left > 0; left--) sum += sizes[draw()]!;
    return sum;
  }
}

/** Sixteen characters, as of a short identifier. */
function keyBytes(key: number): Uint8Array {
  return new TextEncoder().encode(`key-${String(key).padStart(12, "0")}`);
}
