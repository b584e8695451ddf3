/**
 * `npm run bench:agreement`: whether `raw` agrees with fio within 15 % in the median of alternating rounds.
 * Exits with 1 if not, with 2 where fio is not installed.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { AGREEMENT_LIMIT, agreementRatio } from "../results/agreement.js";
import { compareWithFio } from "./agreement.js";

const FILE_SIZE_BYTES = 128 << 20;

const directory = mkdtempSync(join(process.cwd(), ".logduel-agreement-"));
try {
  const agreement = await compareWithFio(directory, FILE_SIZE_BYTES, new AbortController().signal);
  if (agreement === null) {
    console.error("fio is not installed, or failed: there is nothing to agree with.");
    process.exitCode = 2;
  } else {
    for (const { rawBytesPerSecond, fioBytesPerSecond } of agreement.rounds) {
      const [raw, fio] = [rawBytesPerSecond, fioBytesPerSecond].map((rate) => (rate / 1e6).toFixed(0).padStart(6));
      console.log(`raw ${raw} MB/s   fio ${fio} MB/s   ${(rawBytesPerSecond / fioBytesPerSecond).toFixed(3)}`);
    }
    const ratio = agreementRatio(agreement);
    const agrees = Math.abs(ratio - 1) <= AGREEMENT_LIMIT;
    console.log(`The median ratio is ${ratio.toFixed(3)}: ${agrees ? "within" : "beyond"} 15 %.`);
    process.exitCode = agrees ? 0 : 1;
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
