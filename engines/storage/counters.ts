import type { StorageCounters } from "./storage.js";

export function zeroCounters(): StorageCounters {
  return {
    writeCalls: 0,
    writtenBytes: 0,
    readCalls: 0,
    readBytes: 0,
    syncCalls: 0,
    filesOpened: 0,
    filesCreated: 0,
    filesDeleted: 0,
  };
}

/** What was counted between `start` (a copy taken then) and now: a storage counts on over several engines. */
export function countersSince(now: StorageCounters, start: StorageCounters): StorageCounters {
  return {
    writeCalls: now.writeCalls - start.writeCalls,
    writtenBytes: now.writtenBytes - start.writtenBytes,
    readCalls: now.readCalls - start.readCalls,
    readBytes: now.readBytes - start.readBytes,
    syncCalls: now.syncCalls - start.syncCalls,
    filesOpened: now.filesOpened - start.filesOpened,
    filesCreated: now.filesCreated - start.filesCreated,
    filesDeleted: now.filesDeleted - start.filesDeleted,
  };
}
