import Table from "cli-table3";
import { addOutcome, noOutcome, type Outcome } from "./outcome.js";
import type { Round } from "./round.js";

interface Row {
  readonly engine: string;
  readonly rig: string;
  readonly policy: string;
  rounds: number;
  failures: number;
  readonly outcome: Outcome;
}

/** What all rounds came to, by engine, rig and flush policy. */
export class Ledger {
  readonly #rows = new Map<string, Row>();

  add(engine: string, round: Round, outcome: Outcome, failed: boolean): void {
    const { rig, policy } = round;
    const key = [engine, rig, policy].join(" ");
    const row = this.#rows.get(key) ?? { engine, rig, policy, rounds: 0, failures: 0, outcome: noOutcome() };
    this.#rows.set(key, row);
    row.rounds++;
    if (failed) row.failures++;
    addOutcome(row.outcome, outcome);
  }

  get rounds(): number {
    return sum([...this.#rows.values()].map(({ rounds }) => rounds));
  }

  get failures(): number {
    return sum([...this.#rows.values()].map(({ failures }) => failures));
  }

  table(): string {
    const table = new Table({
      head: [
        ...["engine", "rig", "flush", "rounds", "acknowledged", "lost", "lost bytes", "oldest lost ms"],
        ...["recoveries", "repairs", "failures"],
      ],
      colAligns: ["left", "left", "left", ...new Array<"right">(8).fill("right")],
      style: { head: [], border: [], compact: true },
    });
    const rows = [...this.#rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
    for (const { engine, rig, policy, rounds, failures, outcome } of rows) {
      const { acknowledgedMessages, lostMessages, lostBytes, oldestLostMs, recoveries, repairs } = outcome;
      const counts = [rounds, acknowledgedMessages, lostMessages, lostBytes, Math.round(oldestLostMs)];
      table.push([engine, rig, policy, ...[...counts, recoveries, repairs, failures].map((count) => grouped(count))]);
    }
    return table.toString();
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function grouped(count: number): string {
  return count.toLocaleString("en-US").replaceAll(",", " ");
}
