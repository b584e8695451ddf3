/**
 * Whether the `raw` engine is as fast as fio on the same pattern: the same bytes in the same blocks into a new, growing file
 * through the page cache, synced within the time. Both take turns, so that a drift of the machine hits both alike; whoever
 * begins alternates.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turnOfEventLoop } from "node:timers/promises";
import { execa } from "execa";
import { z } from "zod";
import { Message } from "../engines/engine.js";
import { DiskStorage, heap, loadEngine } from "../engines/registry.js";
import type { Run } from "../results/schema.js";
import { BATCH_SIZE_BYTES, LARGE_SIZE_BYTES } from "./probe-protocol.js";

/** Odd, so that the median is one of them. */
const ROUNDS = 7;
/** With the eight bytes that `raw` puts before it, a value fills a block. */
const VALUE_SIZE_BYTES = BATCH_SIZE_BYTES - 8;
/** Appended between two turns of the event loop. */
const TURN_MESSAGES = 64;

type Agreement = NonNullable<Run["agreement"]>;

const outputSchema = z.object({
  jobs: z.array(z.object({ error: z.number(), write: z.object({ bw_bytes: z.number().positive() }) })).length(1),
});

/**
 * @param fileSizeBytes rounded down to whole large blocks
 * @returns null where fio is not installed, or failed
 */
export async function compareWithFio(
  directory: string,
  fileSizeBytes: number,
  signal: AbortSignal,
): Promise<Agreement | null> {
  const size = Math.max(1, Math.floor(fileSizeBytes / LARGE_SIZE_BYTES)) * LARGE_SIZE_BYTES;
  const message = new Message(heap, heap.place(new Uint8Array(VALUE_SIZE_BYTES).fill(0x5a)));
  const rounds: Agreement["rounds"] = [];
  // One more, first: whoever meets the filesystem first finds it cold.
  for (let round = -1; round < ROUNDS; round++) {
    const isFioFirst = round % 2 !== 0;
    let fio = isFioFirst ? await writeWithFio(directory, size, signal) : null;
    const raw = await writeWithRaw(directory, message, size);
    if (!isFioFirst) fio = await writeWithFio(directory, size, signal);
    if (fio === null) return null;
    if (round >= 0) rounds.push({ rawBytesPerSecond: raw, fioBytesPerSecond: fio });
  }
  return { blockSizeBytes: BATCH_SIZE_BYTES, fileSizeBytes: size, rounds };
}

/** Through the engine; opening and closing it are not counted, as by fio. */
async function writeWithRaw(parent: string, message: Message, sizeBytes: number): Promise<number> {
  const directory = mkdtempSync(join(parent, "agreement-raw-"));
  try {
    const definition = await loadEngine("raw");
    let failure: Error | null = null;
    const engine = await definition.open({
      directory,
      storage: new DiskStorage(),
      heap,
      settings: { flush: "async", batchSizeBytes: BATCH_SIZE_BYTES },
      listener: {
        acknowledged() {},
        failed(_partition, _messageCount, error) {
          failure ??= error;
        },
      },
    });
    const [partition] = await engine.createTopic("agreement", 1);
    try {
      const startedNs = process.hrtime.bigint();
      for (let left = sizeBytes / BATCH_SIZE_BYTES; left > 0; left--) {
        engine.append(partition!, message, 0);
        if (left % TURN_MESSAGES === 0) await turnOfEventLoop();
      }
      await engine.flush();
      return (engine.counters().logBytes * 1e9) / Number(process.hrtime.bigint() - startedNs);
    } catch (error) {
      // What the disk said, where there is such a thing, and not that the engine has failed before.
      throw failure ?? error;
    } finally {
      await engine.close().catch(() => {});
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function writeWithFio(directory: string, sizeBytes: number, signal: AbortSignal): Promise<number | null> {
  const { stdout, exitCode } = await execa(
    "fio",
    [
      "--name=agreement",
      `--filename=${join(directory, "agreement-fio")}`,
      `--bs=${BATCH_SIZE_BYTES}`,
      `--size=${sizeBytes}`,
      "--rw=write",
      "--ioengine=psync",
      "--direct=0",
      // A file that is to grow must not be allocated beforehand.
      "--fallocate=none",
      // The final sync within the time that the bandwidth divides by.
      "--end_fsync=1",
      "--thread=1",
      "--unlink=1",
      "--output-format=json",
    ],
    { reject: false, cancelSignal: signal },
  );
  if (exitCode !== 0) return null;
  try {
    const [job] = outputSchema.parse(JSON.parse(stdout)).jobs;
    return job!.error === 0 ? job!.write.bw_bytes : null;
  } catch {
    return null;
  }
}
