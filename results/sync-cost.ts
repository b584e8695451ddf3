/** Whether a sync costs anything on the device, as the run's probe found it. */
import type { ProbeResult } from "./schema.js";

/**
 * A write of a page with its fdatasync that takes less reached no device: the fastest that flush (a write into a
 * controller's own memory over PCIe) take about 20 µs, the system calls alone 5 to 10.
 */
const FREE_SYNC_NS = 20_000;

export interface SyncCost {
  /** Mean time of one page overwritten in place, or appended, with its fdatasync; null: not measured. */
  readonly overwriteNs: number | null;
  readonly appendNs: number | null;
  /** Null where neither was measured. */
  readonly isFree: boolean | null;
}

/** By the harness's own probe; the cheaper of the two patterns decides. */
export function syncCost(probe: readonly ProbeResult[]): SyncCost {
  const meanNs = (id: ProbeResult["id"]): number | null => {
    const found = probe.find((one) => one.id === id && one.tool === "logduel" && one.operationsPerSecond > 0);
    return found === undefined ? null : 1e9 / found.operationsPerSecond;
  };
  const [overwriteNs, appendNs] = [meanNs("sync-overwrite"), meanNs("sync-append")];
  const known = [overwriteNs, appendNs].filter((ns) => ns !== null);
  return { overwriteNs, appendNs, isFree: known.length === 0 ? null : Math.min(...known) < FREE_SYNC_NS };
}
