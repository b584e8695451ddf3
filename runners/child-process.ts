import { fileURLToPath } from "node:url";
import { execa } from "execa";
import type { z } from "zod";
import { TRIAL_ENVIRONMENT, TRIAL_NODE_OPTIONS } from "./environment.js";
import { killGroup } from "./orphan.js";
import { trialPinning } from "./pinning.js";

/** The process ended without an answer: it crashed, was killed at its time limit, or answered nonsense. */
export class ChildFailedError extends Error {
  override name = "ChildFailedError";
}

export interface ChildOptions {
  readonly timeLimitMs: number;
  readonly signal: AbortSignal;
  /** After the fixed ones, and stronger. */
  readonly nodeOptions?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** The only processor that it may run on, by `taskset`; else those of every trial. */
  readonly processor?: number | undefined;
}

/**
 * Runs a module of this folder, or of another build, in a fresh process, under the fixed flags: one message in, one
 * validated message out. The process is killed at the time limit or when `signal` aborts; however it ends, what it started
 * itself ends with it (but for what made a process group of its own).
 * @throws ChildFailedError
 */
export async function runChild<Answer>(
  module: "trial.js" | "probe-process.js" | URL,
  input: object,
  answerSchema: z.ZodType<Answer>,
  { timeLimitMs, signal, nodeOptions = [], environment = {}, processor }: ChildOptions,
): Promise<Answer> {
  const path = fileURLToPath(new URL(module, import.meta.url));
  const processors = processor === undefined ? (await trialPinning()).processors : String(processor);
  const pinning = processors === null ? [] : ["taskset", "--cpu-list", processors];
  const [file, ...parameters] = [...pinning, process.execPath, ...TRIAL_NODE_OPTIONS, ...nodeOptions, path];
  const running = execa(file!, parameters, {
    env: { ...TRIAL_ENVIRONMENT, ...environment },
    ipc: true,
    ipcInput: input as never,
    serialization: "json",
    stdin: "ignore",
    // A third party's engine may print what it likes.
    stdout: "ignore",
    stderr: "pipe",
    reject: false,
    timeout: timeLimitMs,
    cancelSignal: signal,
    killSignal: "SIGKILL",
    // The leader of a process group, so that its children can be ended with it.
    detached: true,
  });
  const endGroup = () => {
    if (running.pid !== undefined) killGroup(running.pid);
  };
  // Children that still hold its pipes would keep the outcome waiting; and no child outlives an impatient end of this process.
  running.once("exit", endGroup);
  process.once("exit", endGroup);
  const result = await running;
  process.off("exit", endGroup);
  if (result.timedOut) {
    throw new ChildFailedError(`It did not end within its time limit of ${timeLimitMs / 1000} s and was killed.`);
  }
  const answer = result.ipcOutput[0];
  if (answer === undefined) {
    const how = result.signal === undefined ? `exit code ${result.exitCode}` : `signal ${result.signal}`;
    const words = lastWords(result.stderr);
    throw new ChildFailedError(`Its process ended with ${how} and no answer${words && `: ${words}`}.`);
  }
  const parsed = answerSchema.safeParse(answer);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw new ChildFailedError(`Its answer is not valid at ${path.join(".") || "its root"}: ${message}.`);
  }
  return parsed.data;
}

/** Of what a dying process wrote: the line that names the error, or else the last. */
function lastWords(text: string): string {
  const lines = text.trim().split("\n");
  return (lines.find((line) => /^\w*(Error|Exception)\b/.test(line)) ?? lines.at(-1) ?? "").replace(/\.$/, "");
}
