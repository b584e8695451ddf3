/** Whether `raw` was as fast as fio on the same pattern. */
import type { Run } from "./schema.js";
import { median } from "./statistics.js";

/** Beyond this difference what `raw` reaches, the disk's limit in every run, is not to be taken for the disk's. */
export const AGREEMENT_LIMIT = 0.15;

/** Own rate ÷ fio's: the median over rounds, each of which had both in turn. */
export function agreementRatio({ rounds }: NonNullable<Run["agreement"]>): number {
  return median(rounds.map(({ rawBytesPerSecond, fioBytesPerSecond }) => rawBytesPerSecond / fioBytesPerSecond));
}

/** The comparison in a sentence, and whether it is within the limit. */
export function agreementWords(agreement: NonNullable<Run["agreement"]>): { agrees: boolean; sentence: string } {
  const ratio = agreementRatio(agreement);
  const agrees = Math.abs(ratio - 1) <= AGREEMENT_LIMIT;
  const rate = (of: "rawBytesPerSecond" | "fioBytesPerSecond") =>
    `${Math.round(median(agreement.rounds.map((round) => round[of])) / 1e6)} MB/s`;
  const verdict = agrees
    ? `they agree within ${AGREEMENT_LIMIT * 100} %`
    : `they differ by more than ${AGREEMENT_LIMIT * 100} %, so shares of raw and of the device are to be taken with care`;
  return {
    agrees,
    sentence: `Sequential writes through the page cache, the final fsync included: ${rate("rawBytesPerSecond")} by raw and ${rate("fioBytesPerSecond")} by fio, in the median of ${agreement.rounds.length} alternating rounds ${ratio.toFixed(2)} of each other; ${verdict}.`,
  };
}
