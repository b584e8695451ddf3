import { isUtf8 } from "node:buffer";
import { crc32 } from "../codec/checksums.js";
import {
  CRC_PROPERTY_SIZE_BYTES,
  KEYS_PROPERTY,
  MAX_PROPERTIES_SIZE_BYTES,
  NAME_END,
  PAIR_END,
  recordSizeBytes,
  SysFlag,
} from "../codec/commitlog-message.js";
import { compress } from "../codec/compression.js";
import { type Message, STAGE_PRODUCER } from "../engine.js";
import { UnrepresentableError } from "../errors.js";
import type { Heap } from "../heap.js";
import type { Kernel } from "../kernel/kernel.js";
import { compressionFlags } from "./body-compression.js";
import { highHalf, KERNEL_CRC_LIMIT_BYTES, lowHalf } from "./record-parser.js";
import { type CommitlogSettings, parseHost } from "./settings.js";
import type { WriterQueue } from "./writer.js";

/** Properties that RocketMQ's store, broker or clients give a meaning; its clients refuse them to users as well. */
const RESERVED_NAMES: ReadonlySet<string> = new Set([
  KEYS_PROPERTY,
  "UNIQ_KEY",
  "WAIT",
  "DELAY",
  "REAL_TOPIC",
  "REAL_QID",
  "RETRY_TOPIC",
  "ORIGIN_MESSAGE_ID",
  "RECONSUME_TIME",
  "MAX_RECONSUME_TIMES",
  "TRAN_MSG",
  "PGROUP",
  "__transactionId__",
  "TRAN_PREPARED_QUEUE_OFFSET",
  "TIMER_DELIVER_MS",
  "TIMER_DELAY_SEC",
  "TIMER_DELAY_MS",
  "TIMER_OUT_MS",
  "INNER_NUM",
  "INNER_BASE",
  "INNER_MULTI_DISPATCH",
  "INNER_MULTI_QUEUE_OFFSET",
  "__SHARDINGKEY",
  "MSG_REGION",
  "TRACE_ON",
  "CLUSTER",
  "__CRC32#",
]);

const LONE_SURROGATE = /\p{Surrogate}/u;

// The origin's layout, documented in kernel/assembly/commitlog-message.ts.
const ORIGIN_SIZE_BYTES = 80;
const BORN_HOST_AT = 4;
const STORE_HOST_AT = 28;
const PROPERTIES_ADDRESS_AT = 52;
const STORE_TIMESTAMP_AT = 56;
const RESERVED_SIZE_AT = 64;
const HOST_SIZE_V4 = 8;
const HOST_SIZE_V6 = 20;

// A message in a batch that the broker encodes, little-endian: its properties and its body follow.
const FRAME_BODY_SIZE_AT = 0;
const FRAME_PROPERTIES_SIZE_AT = 4;
const FRAME_SYS_FLAG_AT = 8;
const FRAME_BORN_TIMESTAMP_AT = 16;
const FRAME_HEADER_SIZE_BYTES = 24;

/** Names already seen as bytes; a workload has few. */
const MAX_CACHED_NAMES = 256;

/** A codec makes what it cannot shrink larger by less than this. */
function mostCompressedBytes(sizeBytes: number): number {
  return sizeBytes + Math.ceil(sizeBytes / 128) + 1_024;
}

/**
 * Turns the contract's messages into records: value → body, key → property KEYS, each header → a property (TAGS included).
 *
 * `prepare` measures and checks a message, then `encode` writes it: between the two the caller finds the place for it.
 */
export class MessageEncoder {
  readonly #origin: number;
  readonly #properties: number;
  #staging = 0;
  readonly #v6HostCount: number;
  readonly #maxBodyBytes: number;
  readonly #reservedBytes: number;
  readonly #names = new Map<string, Uint8Array>();

  readonly #settings: CommitlogSettings;
  /** sysFlag of a record whose body is as it was sent. */
  readonly #sysFlag: number;
  /** Bodies up to this size get `#kernelCrc`: -1 has the kernel compute it, 0 stands for none. */
  readonly #kernelCrcLimitBytes: number;
  readonly #kernelCrc: number;

  // The prepared message.
  #propertiesSizeBytes = 0;
  #bodyAddress = 0;
  #bodySizeBytes = 0;

  constructor(
    private readonly heap: Heap,
    private readonly kernel: Kernel,
    settings: CommitlogSettings,
    /** See `OpenOptions` of engine.ts. */
    private readonly stage: Int32Array = new Int32Array(1),
  ) {
    this.#settings = settings;
    this.#kernelCrcLimitBytes = settings.checksum ? KERNEL_CRC_LIMIT_BYTES : Number.POSITIVE_INFINITY;
    this.#kernelCrc = settings.checksum ? -1 : 0;
    this.#maxBodyBytes = settings.maxMessageSizeBytes;
    this.#reservedBytes = settings.appendPropertyCrc ? CRC_PROPERTY_SIZE_BYTES : 0;
    this.#origin = heap.allocate(ORIGIN_SIZE_BYTES, 64);
    this.#properties = heap.allocate(MAX_PROPERTIES_SIZE_BYTES + 1);
    const born = this.#writeHost(BORN_HOST_AT, settings.bornHost);
    const store = this.#writeHost(STORE_HOST_AT, settings.storeHost);
    this.#v6HostCount = (born === HOST_SIZE_V6 ? 1 : 0) + (store === HOST_SIZE_V6 ? 1 : 0);
    this.#sysFlag =
      (born === HOST_SIZE_V6 ? SysFlag.BORN_HOST_V6 : 0) | (store === HOST_SIZE_V6 ? SysFlag.STORE_HOST_V6 : 0);
    heap.view.setInt32(this.#origin, this.#sysFlag, true);
    heap.view.setUint32(this.#origin + PROPERTIES_ADDRESS_AT, this.#properties, true);
    heap.view.setUint32(this.#origin + RESERVED_SIZE_AT, this.#reservedBytes, true);
  }

  /** Store time of the records that are encoded from now on. */
  setStoreTimestamp(storeTimestampMs: number): void {
    this.heap.view.setFloat64(this.#origin + STORE_TIMESTAMP_AT, storeTimestampMs, true);
  }

  get storeTimestampMs(): number {
    return this.heap.view.getFloat64(this.#origin + STORE_TIMESTAMP_AT, true);
  }

  /** @returns size of the record that `encode` will write. @throws UnrepresentableError */
  prepare(queue: WriterQueue, message: Message): number {
    const bodySizeBytes = message.valueSizeBytes;
    if (bodySizeBytes < 0) {
      throw new UnrepresentableError(
        "A commitlog message has a body: a null value cannot be stored. Use an empty one.",
      );
    }
    if (bodySizeBytes > this.#maxBodyBytes) {
      throw new UnrepresentableError(
        `A value of ${bodySizeBytes} bytes is larger than maxMessageSizeBytes (${this.#maxBodyBytes}).`,
      );
    }
    if (this.#settings.compression === "none") {
      this.#bodyAddress = message.valueAddress >= 0 ? message.valueAddress : this.#stage(message.value!);
      this.#bodySizeBytes = bodySizeBytes;
    } else {
      this.#prepareCompressed(message);
    }
    this.#propertiesSizeBytes =
      message.key === null && message.headers.length === 0 ? 0 : this.#writeProperties(message);
    return recordSizeBytes(
      this.#bodySizeBytes,
      queue.topicSizeBytes,
      this.#propertiesSizeBytes + this.#reservedBytes,
      queue.isV2,
      this.#v6HostCount,
    );
  }

  /** Writes the prepared message's record at `target`. */
  encode(
    target: number,
    queue: WriterQueue,
    queueOffset: number,
    physicalOffset: number,
    bornTimestampMs: number,
  ): void {
    const sizeBytes = this.#encode(
      target,
      queue,
      this.#bodyAddress,
      this.#bodySizeBytes,
      this.#propertiesSizeBytes,
      queueOffset,
      physicalOffset,
      bornTimestampMs,
    );
    if (this.#reservedBytes !== 0) this.writeCrc(target, sizeBytes);
  }

  /** Writes the prepared message's record at `target`, where its position, store time and CRC property are filled in later. */
  assemble(target: number, queue: WriterQueue, queueOffset: number, bornTimestampMs: number): void {
    this.#encode(
      target,
      queue,
      this.#bodyAddress,
      this.#bodySizeBytes,
      this.#propertiesSizeBytes,
      queueOffset,
      0,
      bornTimestampMs,
    );
  }

  /** Keeps the prepared message at `target`, to be encoded by `encodeFrames`. @returns bytes taken, less than its record's */
  frame(target: number, bornTimestampMs: number): number {
    const { heap, kernel } = this;
    const { view } = heap;
    view.setUint32(target + FRAME_BODY_SIZE_AT, this.#bodySizeBytes, true);
    view.setUint32(target + FRAME_PROPERTIES_SIZE_AT, this.#propertiesSizeBytes, true);
    view.setInt32(target + FRAME_SYS_FLAG_AT, view.getInt32(this.#origin, true), true);
    view.setFloat64(target + FRAME_BORN_TIMESTAMP_AT, bornTimestampMs, true);
    const body = target + FRAME_HEADER_SIZE_BYTES + this.#propertiesSizeBytes;
    if (this.#propertiesSizeBytes !== 0) {
      kernel.copyBytes(target + FRAME_HEADER_SIZE_BYTES, this.#properties, this.#propertiesSizeBytes);
    }
    kernel.copyBytes(body, this.#bodyAddress, this.#bodySizeBytes);
    return body + this.#bodySizeBytes - target;
  }

  /** Writes the records of framed messages of one queue at `target`; the prepared message stays prepared. */
  encodeFrames(
    source: number,
    target: number,
    queue: WriterQueue,
    baseOffset: number,
    messageCount: number,
    physicalOffset: number,
  ): void {
    const { view } = this.heap;
    const sysFlag = view.getInt32(this.#origin, true);
    let frame = source;
    let at = target;
    for (let i = 0; i < messageCount; i++) {
      const bodySizeBytes = view.getUint32(frame + FRAME_BODY_SIZE_AT, true);
      const propertiesSizeBytes = view.getUint32(frame + FRAME_PROPERTIES_SIZE_AT, true);
      const body = frame + FRAME_HEADER_SIZE_BYTES + propertiesSizeBytes;
      view.setInt32(this.#origin, view.getInt32(frame + FRAME_SYS_FLAG_AT, true), true);
      view.setUint32(this.#origin + PROPERTIES_ADDRESS_AT, frame + FRAME_HEADER_SIZE_BYTES, true);
      const sizeBytes = this.#encode(
        at,
        queue,
        body,
        bodySizeBytes,
        propertiesSizeBytes,
        baseOffset + i,
        physicalOffset + (at - target),
        view.getFloat64(frame + FRAME_BORN_TIMESTAMP_AT, true),
      );
      if (this.#reservedBytes !== 0) this.writeCrc(at, sizeBytes);
      at += sizeBytes;
      frame = body + bodySizeBytes;
    }
    view.setInt32(this.#origin, sysFlag, true);
    view.setUint32(this.#origin + PROPERTIES_ADDRESS_AT, this.#properties, true);
  }

  #encode(
    target: number,
    queue: WriterQueue,
    bodyAddress: number,
    bodySizeBytes: number,
    propertiesSizeBytes: number,
    queueOffset: number,
    physicalOffset: number,
    bornTimestampMs: number,
  ): number {
    return this.kernel.encodeCommitlogMessage(
      target,
      queue.block,
      this.#origin,
      bodyAddress,
      bodySizeBytes,
      bodySizeBytes > this.#kernelCrcLimitBytes ? crc32(bodyAddress, bodySizeBytes) & 0x7fffffff : this.#kernelCrc,
      propertiesSizeBytes,
      queueOffset,
      highHalf(physicalOffset),
      lowHalf(physicalOffset),
      bornTimestampMs,
    );
  }

  /** As RocketMQ's producer: a body that reaches the threshold is compressed, and stays so if that made it larger. */
  #prepareCompressed(message: Message): void {
    const { compression, compressionThresholdBytes, compressionLevel } = this.#settings;
    let value = message.value!;
    let sysFlag = this.#sysFlag;
    if (compression !== "none" && value.byteLength >= compressionThresholdBytes) {
      const found = this.stage[0]!;
      this.stage[0] = STAGE_PRODUCER;
      try {
        value = compress(compression, value.slice(), compression === "lz4" ? undefined : compressionLevel);
      } finally {
        this.stage[0] = found;
      }
      sysFlag |= compressionFlags(compression);
    }
    this.heap.view.setInt32(this.#origin, sysFlag, true);
    this.#bodyAddress = this.#stage(value);
    this.#bodySizeBytes = value.byteLength;
  }

  get appendsCrc(): boolean {
    return this.#reservedBytes !== 0;
  }

  /** Fills the CRC property of the finished record at `target`. */
  writeCrc(target: number, sizeBytes: number): void {
    const crc = crc32(target, sizeBytes - CRC_PROPERTY_SIZE_BYTES);
    this.kernel.writeCommitlogCrcProperty(target, sizeBytes, crc);
  }

  release(): void {
    this.heap.release(this.#origin);
    this.heap.release(this.#properties);
    if (this.#staging !== 0) this.heap.release(this.#staging);
  }

  /** @returns bytes of the host as the record has it, port included */
  #writeHost(at: number, text: string): number {
    const { address, port } = parseHost(text);
    const { view, bytes } = this.heap;
    view.setUint32(this.#origin + at, address.length === 16 ? HOST_SIZE_V6 : HOST_SIZE_V4, true);
    bytes.set(address, this.#origin + at + 4);
    view.setInt32(this.#origin + at + 4 + address.length, port);
    return address.length + 4;
  }

  /** Copies a body that lies outside the heap into it. */
  #stage(value: Uint8Array): number {
    if (this.#staging === 0) this.#staging = this.heap.allocate(mostCompressedBytes(this.#maxBodyBytes));
    this.heap.bytes.set(value, this.#staging);
    return this.#staging;
  }

  #writeProperties(message: Message): number {
    let sizeBytes = message.key === null ? 0 : this.#writeKey(message, message.key);
    for (let i = 0; i < message.headers.length; i++) {
      const { key: name, value } = message.headers[i]!;
      this.#checkHeader(message, i, name, value);
      const nameBytes = this.#nameBytes(name);
      const end = sizeBytes + nameBytes.length + 1 + value!.length + 1;
      this.#checkPropertiesSize(end);
      const { bytes } = this.heap;
      let at = this.#properties + sizeBytes;
      bytes.set(nameBytes, at);
      at += nameBytes.length;
      bytes[at] = NAME_END;
      bytes.set(value!, at + 1);
      bytes[this.#properties + end - 1] = PAIR_END;
      sizeBytes = end;
    }
    return sizeBytes;
  }

  #writeKey(message: Message, key: Uint8Array): number {
    if (key.length === 0) {
      throw new UnrepresentableError(
        "RocketMQ drops a property without a value: an empty key cannot be stored. Use null.",
      );
    }
    const sizeBytes = KEYS_PROPERTY.length + 1 + key.length + 1;
    this.#checkPropertiesSize(sizeBytes);
    let { keyAddress } = message;
    if (keyAddress < 0) {
      // Straight to where the kernel will find it in its place already.
      keyAddress = this.#properties + KEYS_PROPERTY.length + 1;
      this.heap.bytes.set(key, keyAddress);
    }
    const written = this.kernel.writeCommitlogKeys(this.#properties, keyAddress, key.length);
    if (written === -1 || (written === -2 && !isUtf8(key.slice()))) {
      throw new UnrepresentableError("A key is stored as text: UTF-8 without the characters 0x01 and 0x02.");
    }
    return sizeBytes;
  }

  #checkHeader(message: Message, index: number, name: string, value: Uint8Array | null): void {
    const fail = (reason: string): never => {
      throw new UnrepresentableError(`The header ${JSON.stringify(name)} cannot be stored as a property: ${reason}.`);
    };
    if (name.length === 0) fail("it has no name");
    if (RESERVED_NAMES.has(name)) fail("RocketMQ reserves that name");
    if (name.includes("\u0001") || name.includes("\u0002") || LONE_SURROGATE.test(name)) {
      fail("a name is text without the characters 0x01 and 0x02");
    }
    if (value === null || value.length === 0) fail("RocketMQ drops a property without a value");
    if (value!.includes(NAME_END) || value!.includes(PAIR_END) || !isUtf8(value!.slice())) {
      fail("a value is stored as text: UTF-8 without the characters 0x01 and 0x02");
    }
    for (let i = 0; i < index; i++) {
      if (message.headers[i]!.key === name) fail("it comes twice, and RocketMQ keeps one of a name");
    }
  }

  #checkPropertiesSize(sizeBytes: number): void {
    if (sizeBytes + this.#reservedBytes <= MAX_PROPERTIES_SIZE_BYTES) return;
    throw new UnrepresentableError(
      `Key and headers take more than the ${MAX_PROPERTIES_SIZE_BYTES} bytes that a message has for its properties.`,
    );
  }

  #nameBytes(name: string): Uint8Array {
    let bytes = this.#names.get(name);
    if (bytes === undefined) {
      if (this.#names.size >= MAX_CACHED_NAMES) this.#names.clear();
      bytes = new TextEncoder().encode(name);
      this.#names.set(name, bytes);
    }
    return bytes;
  }
}
