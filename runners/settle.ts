import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { parseMemory } from "./kernel-counters.js";

/** Below this much dirty or being written back, the disk counts as settled. */
const SETTLED_BYTES = 64 * 1024 * 1024;
const POLL_MS = 50;

/**
 * Has the kernel write back all that is dirty and waits until little is left, so that a trial does not pay for the one
 * before it. @returns what was left when `maximumMs` had passed, or 0; null where the platform does not tell
 */
export async function settle(maximumMs: number, signal: AbortSignal): Promise<number | null> {
  const deadline = Date.now() + maximumMs;
  await execa("sync", { timeout: maximumMs, reject: false, stdio: "ignore", cancelSignal: signal });
  if (!existsSync("/proc/meminfo")) return null;
  for (;;) {
    const { dirtyBytes, writebackBytes } = parseMemory(readFileSync("/proc/meminfo", "utf8"));
    if (dirtyBytes + writebackBytes < SETTLED_BYTES) return 0;
    if (Date.now() >= deadline || signal.aborted) return dirtyBytes + writebackBytes;
    await sleep(POLL_MS);
  }
}
