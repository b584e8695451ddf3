import { join } from "node:path";
import { execa } from "execa";
import { z } from "zod";
import type { ProbeResult } from "../results/schema.js";
import { BATCH_SIZE_BYTES, LARGE_SIZE_BYTES, PAGE_SIZE_BYTES, type ProbeInput } from "./probe-protocol.js";

/** fio's options for each of the probe's measurements; all through psync, as Node's synchronous calls are. */
const PATTERNS: { id: ProbeResult["id"]; blockSizeBytes: number; options: string[] }[] = [
  { id: "buffered-write", blockSizeBytes: BATCH_SIZE_BYTES, options: ["--rw=write", "--direct=0"] },
  { id: "direct-write", blockSizeBytes: LARGE_SIZE_BYTES, options: ["--rw=write", "--direct=1"] },
  { id: "sync-append", blockSizeBytes: PAGE_SIZE_BYTES, options: ["--rw=write", "--fdatasync=1", "--file_append=1"] },
  {
    id: "sync-overwrite",
    blockSizeBytes: PAGE_SIZE_BYTES,
    options: ["--rw=randwrite", "--fdatasync=1", "--overwrite=1"],
  },
  { id: "random-read", blockSizeBytes: PAGE_SIZE_BYTES, options: ["--rw=randread", "--direct=1"] },
  { id: "random-read", blockSizeBytes: BATCH_SIZE_BYTES, options: ["--rw=randread", "--direct=1"] },
  { id: "sequential-read", blockSizeBytes: LARGE_SIZE_BYTES, options: ["--rw=read", "--direct=1"] },
];

const sideSchema = z.object({ bw_bytes: z.number(), iops: z.number(), total_ios: z.number() });
/** Of fio's JSON output only what is used; the rest is fio's. */
const outputSchema = z.object({
  jobs: z.array(z.object({ error: z.number(), read: sideSchema, write: sideSchema })).min(1),
});

/** Cross-checks the probe with fio. @returns null where fio is not installed */
export async function probeWithFio(input: ProbeInput, signal: AbortSignal): Promise<ProbeResult[] | null> {
  const { failed } = await execa("fio", ["--version"], { reject: false, stdio: "ignore" });
  if (failed) return null;
  const results: ProbeResult[] = [];
  for (const { id, blockSizeBytes, options } of PATTERNS) {
    const path = join(input.directory, `fio-${id}-${blockSizeBytes}`);
    const { stdout, exitCode } = await execa(
      "fio",
      [
        "--name=probe",
        `--filename=${path}`,
        `--bs=${blockSizeBytes}`,
        `--size=${Math.ceil(input.fileSizeBytes / LARGE_SIZE_BYTES) * LARGE_SIZE_BYTES}`,
        `--runtime=${input.durationMs}ms`,
        "--ioengine=psync",
        // A file that is to grow must not be allocated beforehand.
        "--fallocate=none",
        "--unlink=1",
        "--output-format=json",
        ...options,
      ],
      { reject: false, cancelSignal: signal },
    );
    results.push(parseFio(id, blockSizeBytes, exitCode === 0 ? stdout : ""));
  }
  return results;
}

/** Turns fio's JSON into a probe result; what is no such JSON into one that is unavailable. */
export function parseFio(id: ProbeResult["id"], blockSizeBytes: number, output: string): ProbeResult {
  const base = { id, tool: "fio" as const, blockSizeBytes, latency: null };
  try {
    const job = outputSchema.parse(JSON.parse(output)).jobs[0]!;
    if (job.error !== 0) throw new Error(`error ${job.error}`);
    const side = id.endsWith("read") ? job.read : job.write;
    return {
      ...base,
      operations: side.total_ios,
      operationsPerSecond: side.iops,
      bytesPerSecond: side.bw_bytes,
      unavailable: null,
    };
  } catch {
    return { ...base, operations: 0, operationsPerSecond: 0, bytesPerSecond: 0, unavailable: "fio failed." };
  }
}
