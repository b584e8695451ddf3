import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { TRANSFER_PATHS } from "./storage/transfer.js";

it("serving has a benchmark that runs", async () => {
  const benchmark = fileURLToPath(new URL("./serving.bench.js", import.meta.url));
  const size = ["--rounds", "1", "--megabytes", "1", "--chunks", "65536"];
  const { stdout } = await promisify(execFile)(process.execPath, [benchmark, ...size]);
  for (const engine of ["partitioned-log", "commitlog", "commitlog, 8 queues"]) {
    for (const transfer of TRANSFER_PATHS)
      expect(stdout).toMatch(new RegExp(`^${engine} +64  ${transfer} +\\d+ `, "m"));
  }
});
