import type { Run, Trial } from "../results/schema.js";
import { FOREIGN_LIMIT, foreignShare } from "../results/validity.js";

const MOST_OF_ONE_TRIAL = 2;
/** Of all planned trials, or a few: a machine that is never quiet is not waited for. */
const SHARE_OF_TRIALS = 0.1;
const FEWEST_ALLOWED = 3;

/**
 * Throws trials away beside which others wrote more than 5 % of what the device wrote, and repeats them (method rule 25).
 * Nobody looks at their figures, and each that was thrown away is counted in the one that is kept. After so many, a trial
 * is kept as it is; its grade says what was the matter.
 */
export class Repeats {
  readonly #isAsked: boolean;
  #left: number;
  readonly #tell: (line: string) => void;

  constructor(run: Pick<Run, "plannedTrialCount" | "allowsNeighbours">, tell: (line: string) => void) {
    this.#isAsked = !run.allowsNeighbours;
    this.#left = Math.max(FEWEST_ALLOWED, Math.floor(run.plannedTrialCount * SHARE_OF_TRIALS));
    this.#tell = tell;
  }

  async untilUndisturbed(trialId: string, attempt: () => Promise<Trial>): Promise<Trial> {
    const disturbedAttempts: number[] = [];
    for (;;) {
      const trial = await attempt();
      const share = foreignShare(trial) ?? 0;
      if (!this.#isAsked || share <= FOREIGN_LIMIT) return { ...trial, disturbedAttempts };
      const what = `others wrote ${(share * 100).toFixed(0)} % of what the device wrote beside ${trialId}`;
      if (this.#left === 0 || disturbedAttempts.length === MOST_OF_ONE_TRIAL) {
        this.#tell(`Kept as invalid: ${what} (--allow-neighbours repeats none).`);
        return { ...trial, disturbedAttempts };
      }
      this.#left--;
      disturbedAttempts.push(share);
      this.#tell(`Thrown away and repeated: ${what}.`);
    }
  }
}
