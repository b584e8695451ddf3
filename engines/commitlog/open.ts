import { BLANK_SIZE_BYTES } from "../codec/commitlog-message.js";
import type { OpenOptions, StorageEngine } from "../engine.js";
import { OpenError, UnsupportedError } from "../errors.js";
import { kernelOf } from "../kernel/kernel.js";
import type { Storage, StorageLock } from "../storage/storage.js";
import { CheckpointFile } from "./checkpoint.js";
import { CommitlogEngine } from "./commitlog-engine.js";
import { Consumequeue } from "./consumequeue.js";
import { Dispatcher } from "./dispatcher.js";
import { KeyIndex } from "./key-index.js";
import { MappedLog } from "./mapped-log.js";
import { COMMITLOG_DIRECTORY, CONSUMEQUEUE_DIRECTORY, LOCK_FILE } from "./names.js";
import { checkOpenFiles, OpenFiles, openFilesKept } from "./open-files.js";
import { QueueTable } from "./queue-table.js";
import { RecordParser } from "./record-parser.js";
import { recover } from "./recovery.js";
import { settingsSchema } from "./settings.js";
import { WrittenLog } from "./written-log.js";

/** A record's bytes beside its body: RocketMQ's limit for topic, properties and header. */
const MAX_FRAMING_BYTES = 65_536;
const MAP_GRAIN_BYTES = 65_536;

/** Opens, or makes, a store in a directory and recovers it. @throws OpenError, ZodError */
export async function openCommitlog(options: OpenOptions): Promise<StorageEngine> {
  const { storage, heap, directory: root, listener } = options;
  const settings = settingsSchema.parse(options.settings);
  if (settings.pageCacheAdvice !== "none" && !storage.takesAdvice) {
    throw new UnsupportedError(
      `This system takes no advice on its page cache (pageCacheAdvice "${settings.pageCacheAdvice}"). Leave it at "none".`,
    );
  }
  const countersAtOpen = { ...storage.counters };
  const kernel = kernelOf(heap);
  const largestAppendBytes = settings.segmentSizeBytes - BLANK_SIZE_BYTES;
  const maxRecordBytes = Math.min(settings.maxMessageSizeBytes + MAX_FRAMING_BYTES, largestAppendBytes);
  const batchSizeBytes = Math.min(settings.batchSizeBytes, largestAppendBytes);
  const windows = {
    windowBytes: settings.mapWindowBytes,
    overlapBytes: Math.ceil(Math.max(maxRecordBytes, batchSizeBytes) / MAP_GRAIN_BYTES) * MAP_GRAIN_BYTES,
  };
  const files = { fileSizeBytes: settings.segmentSizeBytes, geometry: windows, preallocate: settings.preallocate };

  /** What to undo when opening fails half-way, the last first. */
  const undo: (() => void)[] = [];
  try {
    storage.makeDirectory(root);
    const lock = takeLock(storage, root);
    undo.push(() => lock.release());
    const directory = `${root}/${COMMITLOG_DIRECTORY}`;
    checkOpenFiles(storage, storage.exists(directory) ? storage.list(directory).length : 0, 0);
    const openFiles = new OpenFiles(storage, openFilesKept(storage));
    undo.push(() => openFiles.close());
    const indexCounter = { indexBytes: 0 };
    const queues = new QueueTable(heap, kernel, (topic, queueId) => {
      const queueDirectory = `${root}/${CONSUMEQUEUE_DIRECTORY}/${topic}/${queueId}`;
      return new Consumequeue(storage, openFiles, queueDirectory, settings.consumequeueFileSizeBytes, indexCounter);
    });
    undo.push(() => queues.release());
    const parser = new RecordParser(heap, kernel, settings.forceVerifyPropertyCrc, settings.checksum);
    undo.push(() => parser.release());
    const geometry = { slotCount: settings.keyIndexSlots, itemCount: settings.keyIndexItems };
    const keyIndex = settings.keyIndex
      ? new KeyIndex({ storage, heap, files: openFiles, root, geometry, counters: indexCounter })
      : null;
    const dispatcher = new Dispatcher(heap, kernel, queues, keyIndex);
    undo.push(() => dispatcher.release());
    const recovered = await recover({ storage, heap, root, ...files, queues, parser, dispatcher, keyIndex });
    undo.push(() => {
      for (const file of recovered.files) file.close();
    });
    indexCounter.indexBytes = 0;
    const { pageCacheAdvice } = settings;
    const logOptions = { storage, heap, directory, ...files, pageCacheAdvice, listener };
    const log =
      settings.writePath === "write"
        ? new WrittenLog(logOptions, recovered.files, recovered.endOffset)
        : new MappedLog(logOptions, recovered.files, recovered.endOffset, settings.warmUp, settings.flush === "sync");
    undo.push(() => log.release());
    await log.warm(Date.now());
    const checkpoint = new CheckpointFile(storage, root);
    undo.push(() => checkpoint.close());
    return new CommitlogEngine({
      ...{ storage, countersAtOpen, heap, kernel, root, settings, listener, lock, recovered, log, openFiles },
      ...{ indexCounter, queues, parser, dispatcher, keyIndex, checkpoint, maxRecordBytes, batchSizeBytes },
      stage: options.stage ?? new Int32Array(1),
    });
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  }
}

function takeLock(storage: Storage, root: string): StorageLock {
  const path = `${root}/${LOCK_FILE}`;
  if (!storage.exists(path)) {
    const file = storage.open(path, "create");
    const content = new TextEncoder().encode("lock");
    file.write(content, 0, content.length, 0);
    file.close();
  }
  const lock = storage.lock(path);
  if (lock !== null) return lock;
  throw new OpenError(`${root} is open in another process (${LOCK_FILE} is held). Close it there first.`);
}
