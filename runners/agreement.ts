/**
 * Whether the harness's own writes are as fast as fio's: the same bytes in the same blocks into a new, growing file through
 * the page cache, synced within the time. Both take turns, so that a drift of the machine hits both alike; whoever begins
 * alternates.
 */
import { closeSync, fsyncSync, openSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { z } from "zod";
import type { Run } from "../results/schema.js";
import { BATCH_SIZE_BYTES, LARGE_SIZE_BYTES } from "./probe-protocol.js";

/** Odd, so that the median is one of them. */
const ROUNDS = 7;

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
  const rounds: Agreement["rounds"] = [];
  // One more, first: whoever meets the filesystem first finds it cold.
  for (let round = -1; round < ROUNDS; round++) {
    const isFioFirst = round % 2 !== 0;
    let fio = isFioFirst ? await writeWithFio(directory, size, signal) : null;
    const raw = writeOurselves(join(directory, "agreement-raw"), size);
    if (!isFioFirst) fio = await writeWithFio(directory, size, signal);
    if (fio === null) return null;
    if (round >= 0) rounds.push({ rawBytesPerSecond: raw, fioBytesPerSecond: fio });
  }
  return { blockSizeBytes: BATCH_SIZE_BYTES, fileSizeBytes: size, rounds };
}

/** The call that `raw` and the engines make, one block after the other; opening and closing are not counted, as by fio. */
function writeOurselves(path: string, sizeBytes: number): number {
  const block = new Uint8Array(BATCH_SIZE_BYTES).fill(0x5a);
  const file = openSync(path, "w", 0o600);
  try {
    const startedNs = process.hrtime.bigint();
    for (let at = 0; at < sizeBytes; at += BATCH_SIZE_BYTES) writeSync(file, block, 0, BATCH_SIZE_BYTES, at);
    fsyncSync(file);
    return (sizeBytes * 1e9) / Number(process.hrtime.bigint() - startedNs);
  } finally {
    closeSync(file);
    unlinkSync(path);
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
