/**
 * Operational failures of an engine: what the disk, the caller or a damaged file did. Each has a `code` for programs and
 * a sentence for people that says what was found, where, and what to do.
 */
export abstract class EngineError extends Error {
  abstract readonly code: string;
}

/** Stored bytes do not have the form or checksum that their format demands. */
export class CorruptDataError extends EngineError {
  override name = "CorruptDataError";
  readonly code = "ERR_CORRUPT_DATA";
  constructor(
    readonly what: string,
    readonly file: string,
    readonly positionBytes: number,
    advice = "Reopen the directory to recover it.",
  ) {
    super(`${what} in ${file} at byte ${positionBytes}. ${advice}`);
  }
}

/**
 * A compressed payload is damaged, is not of its codec, or unfolds to more than its reader takes. Whoever knows the file
 * and position turns it into a CorruptDataError.
 */
export class CorruptPayloadError extends EngineError {
  override name = "CorruptPayloadError";
  readonly code = "ERR_CORRUPT_PAYLOAD";
  /** @param what completes the sentence "A zstd payload …" */
  constructor(
    readonly codec: string,
    readonly what: string,
    options?: ErrorOptions,
  ) {
    super(`A ${codec} payload ${what}.`, options);
  }
}

/** The engine's format cannot hold this message or topic (too large, a forbidden character, an unusable name). */
export class UnrepresentableError extends EngineError {
  override name = "UnrepresentableError";
  readonly code = "ERR_UNREPRESENTABLE";
}

/** A fetch asked for an offset that the partition does not hold. */
export class OffsetOutOfRangeError extends EngineError {
  override name = "OffsetOutOfRangeError";
  readonly code = "ERR_OFFSET_OUT_OF_RANGE";
  constructor(
    readonly offset: number,
    readonly startOffset: number,
    readonly endOffset: number,
  ) {
    super(`Offset ${offset} is outside ${startOffset} to ${endOffset}. Fetch from an offset in that range.`);
  }
}

/** A write or sync failed: the log it belongs to acknowledges nothing more until the directory is reopened. */
export class LogFailedError extends EngineError {
  override name = "LogFailedError";
  readonly code = "ERR_LOG_FAILED";
}

/** The directory cannot be opened: held by another process, not of this engine, or of unusable settings. */
export class OpenError extends EngineError {
  override name = "OpenError";
  readonly code = "ERR_OPEN";
}

/** The consumer at the other end of a socket has closed it or is not there any more. */
export class ReceiverGoneError extends EngineError {
  override name = "ReceiverGoneError";
  readonly code = "ERR_RECEIVER_GONE";
  constructor(
    /** Bytes of the range that the socket took before; the receiver may have got fewer. */
    readonly sentBytes: number,
    options?: ErrorOptions,
  ) {
    super(`The receiver has gone after ${sentBytes} bytes. Close its connection.`, options);
  }
}

/** What was asked for needs something that is still in use by the call before. */
export class BusyError extends EngineError {
  override name = "BusyError";
  readonly code = "ERR_BUSY";
}

/** The engine has been closed, or has not been opened. */
export class ClosedError extends EngineError {
  override name = "ClosedError";
  readonly code = "ERR_CLOSED";
}

/** The engine cannot be closed: other threads still append to it. */
export class WritersAttachedError extends EngineError {
  override name = "WritersAttachedError";
  readonly code = "ERR_WRITERS_ATTACHED";
  constructor(readonly writerCount: number) {
    super(
      `${writerCount} of the engine's writers are still open. Close them, or end their threads, and close it again.`,
    );
  }
}

/** This platform, this engine's format or its settings lack what the call needs. */
export class UnsupportedError extends EngineError {
  override name = "UnsupportedError";
  readonly code = "ERR_UNSUPPORTED";
}

/** There is no engine of that name, or the module given does not define one. */
export class EngineLoadError extends EngineError {
  override name = "EngineLoadError";
  readonly code = "ERR_ENGINE_LOAD";
}
