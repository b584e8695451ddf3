import { javaStringHash, TAGS_PROPERTY } from "../codec/commitlog-message.js";
import type { Header } from "../engine.js";

/**
 * A unit's tagsCode that is no hash of tags, so that nothing can be said of them without the record: of a message that
 * damage has swallowed. Its low 32 bits, which are all that RocketMQ compares, are those of a message without tags.
 */
export const UNKNOWN_TAGS_CODE = 2 ** 40;

/**
 * Lets through the messages that have one of the wanted tags: by the hash in the consumequeue's unit, which needs no
 * look at the log, and then by the tags themselves, since "Aa" and "BB" have one hash. (RocketMQ's broker compares the
 * hashes and leaves the tags to the consumer. It compares the low 32 bits of any code; a code of more is none of a hash
 * but, say, the time when a delayed message is due, so here the record decides.)
 */
export class TagFilter {
  readonly #tags: ReadonlySet<string>;
  readonly #hashes: ReadonlySet<number>;

  constructor(tags: readonly string[]) {
    this.#tags = new Set(tags);
    this.#hashes = new Set(tags.map(javaStringHash));
  }

  /** False: a message whose unit has this code has none of the tags. */
  mayMatch(tagsCode: number): boolean {
    return this.#hashes.has(tagsCode) || tagsCode !== (tagsCode | 0);
  }

  matches(headers: readonly Header[]): boolean {
    const tags = headers.find(({ key }) => key === TAGS_PROPERTY)?.value;
    return tags ? this.#tags.has(new TextDecoder().decode(tags)) : false;
  }
}
