import cliProgress from "cli-progress";
import { printable } from "./terminal.js";

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
 * @param budgetMs after which trials are left out, or null
 */
export function createProgress(
  estimatedTrialMs: number,
  budgetMs: number | null,
  stream: NodeJS.WriteStream,
): Progress {
  const timeLeft = new TimeLeft(estimatedTrialMs, budgetMs ?? Number.POSITIVE_INFINITY);
  return stream.isTTY ? new Bar(timeLeft, stream) : new Lines(timeLeft, stream);
}

/** The estimate of the time left: planned times at first, then what trials have really taken. */
class TimeLeft {
  readonly #startedMs = Date.now();

  constructor(
    readonly estimatedTrialMs: number,
    readonly budgetMs: number,
  ) {}

  after(doneCount: number, trialCount: number): string {
    const spentMs = Date.now() - this.#startedMs;
    const perTrialMs = doneCount === 0 ? this.estimatedTrialMs : spentMs / doneCount;
    return duration(Math.max(0, Math.min(perTrialMs * (trialCount - doneCount), this.budgetMs - spentMs)));
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
    if (index === 0) this.#bar.start(count, 0, words);
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
