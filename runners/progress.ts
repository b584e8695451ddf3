import cliProgress from "cli-progress";
import { printable } from "../engines/printable.js";

/** Tells on standard error which trial runs and how long the rest will take. */
export interface Progress {
  /** Before trial `index` (0-based) of `count` begins. */
  begin(index: number, count: number, what: string): void;
  /** A line that stays, such as a failure. */
  note(text: string): void;
  end(): void;
}

/**
 * A bar on a terminal; elsewhere a plain line for every trial.
 * @param deadlineMs of the run's budget, on the clock of `Date.now`; null: it takes as long as it takes
 */
export function createProgress(
  estimatedTrialMs: number,
  deadlineMs: number | null,
  stream: NodeJS.WriteStream,
): Progress {
  const timeLeft = new TimeLeft(estimatedTrialMs, deadlineMs);
  return stream.isTTY ? new Bar(timeLeft, stream) : new Lines(timeLeft, stream);
}

/** The time left: of the budget where there is one, else by planned times at first, then by what trials have taken. */
class TimeLeft {
  readonly #startedMs = Date.now();
  #alreadyDone: number | null = null;

  constructor(
    readonly estimatedTrialMs: number,
    readonly deadlineMs: number | null,
  ) {}

  after(doneCount: number, trialCount: number): string {
    if (this.deadlineMs !== null) return `${duration(this.deadlineMs - Date.now())} of the budget`;
    // A resumed run begins with trials that took none of its time.
    this.#alreadyDone ??= doneCount;
    const ranCount = doneCount - this.#alreadyDone;
    const spentMs = Date.now() - this.#startedMs;
    const perTrialMs = ranCount === 0 ? this.estimatedTrialMs : spentMs / ranCount;
    return duration(perTrialMs * (trialCount - doneCount));
  }
}

class Bar implements Progress {
  readonly #bar: cliProgress.SingleBar;
  readonly #timeLeft: TimeLeft;
  readonly #stream: NodeJS.WriteStream;

  constructor(timeLeft: TimeLeft, stream: NodeJS.WriteStream) {
    this.#timeLeft = timeLeft;
    this.#stream = stream;
    this.#bar = new cliProgress.SingleBar({
      format: "{bar} trial {trial} of {total}, {left} left: {what}",
      barsize: 24,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      hideCursor: true,
      linewrap: false,
      stream,
    });
  }

  begin(index: number, count: number, what: string): void {
    const words = { trial: index + 1, what: printable(what), left: this.#timeLeft.after(index, count) };
    if (!this.#bar.isActive) this.#bar.start(count, index, words);
    this.#bar.setTotal(count);
    this.#bar.update(index, words);
  }

  note(text: string): void {
    this.#stream.write(`\r\u001b[K${printable(text)}\n`);
  }

  end(): void {
    this.#bar.stop();
  }
}

class Lines implements Progress {
  readonly #timeLeft: TimeLeft;
  readonly #stream: NodeJS.WriteStream;

  constructor(timeLeft: TimeLeft, stream: NodeJS.WriteStream) {
    this.#timeLeft = timeLeft;
    this.#stream = stream;
  }

  begin(index: number, count: number, what: string): void {
    const left = this.#timeLeft.after(index, count);
    this.#stream.write(`trial ${index + 1} of ${count}, ${left} left: ${printable(what)}\n`);
  }

  note(text: string): void {
    this.#stream.write(`${printable(text)}\n`);
  }

  end(): void {}
}

/** `9 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}
