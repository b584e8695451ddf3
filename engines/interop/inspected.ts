import { heap } from "../heap.js";
import { inspect } from "../inspect/inspect.js";
import { DiskStorage } from "../storage/disk-storage.js";

/** What an inspection says of a directory, as far as both originals have it. */
export function inspected(directory: string) {
  const options = { heap, topic: null, isQuick: false, onBatch: null };
  const { damage, inUse, closedCleanly, log } = inspect(new DiskStorage(heap), directory, options);
  return { damage, inUse, closedCleanly, messageCount: log.messageCount, codecs: log.codecs };
}
