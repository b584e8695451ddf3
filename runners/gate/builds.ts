import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { UsageError } from "../../engines/command-line.js";
import type { Arm } from "./blocks.js";

/** The project's directory: `dist/runners/gate/` lies three below it. */
const PROJECT = fileURLToPath(new URL("../../../", import.meta.url));

/** Directories that hold a compiled project each: `dist/`, `package.json` and its packages. */
export interface Builds extends Readonly<Record<Arm, string>> {
  /** Forgets the worktree; the directory itself is the caller's to remove. */
  release(): Promise<void>;
}

/** The working tree on every side: what differs are engines or settings. */
export const SAME_BUILD: Builds = { candidate: PROJECT, reference: PROJECT, guard: PROJECT, release: async () => {} };

/**
 * Lays out three builds side by side in `directory`: the candidate is the working tree as compiled now, the reference is
 * `commit` built in a worktree of its own, the guard is a second copy of the reference. All are copies, so that none is
 * nearer or newer, and none is compiled again while the gate runs.
 * @throws UsageError when `commit` does not build
 */
export async function layOutBuilds(directory: string, commit: string, signal: AbortSignal): Promise<Builds> {
  const worktree = join(directory, "worktree");
  const release = async () => {
    if (existsSync(worktree)) await execa("git", ["worktree", "remove", "--force", worktree], { cwd: PROJECT });
  };
  const copy = (from: string, arm: Arm): string => {
    const to = join(directory, arm);
    mkdirSync(to);
    cpSync(join(from, "package.json"), join(to, "package.json"));
    cpSync(join(from, "dist"), join(to, "dist"), { recursive: true, filter: (file) => hasSource(file, from) });
    symlinkSync(join(from, "node_modules"), join(to, "node_modules"));
    return to;
  };
  const candidate = copy(PROJECT, "candidate");
  try {
    await build(worktree, commit, signal);
    return { candidate, reference: copy(worktree, "reference"), guard: copy(worktree, "guard"), release };
  } catch (error) {
    await release();
    throw error;
  }
}

/** The compiler leaves in `dist/` what it made of a source that is gone now, and a scenario taken away must not seem there. */
function hasSource(file: string, project: string): boolean {
  if (!file.endsWith(".js")) return true;
  const module = relative(join(project, "dist"), file).slice(0, -".js".length);
  return existsSync(join(project, `${module}.ts`));
}

/** Of gates that were killed, git still lists the worktrees after their directories were removed by hand; no others are touched. */
export async function forgetLostWorktrees(): Promise<void> {
  const git = (...command: string[]) => execa("git", ["worktree", ...command], { cwd: PROJECT, reject: false });
  const { stdout } = await git("list", "--porcelain");
  const paths = [...(stdout ?? "").matchAll(/^worktree (.*\/logduel-data-[0-9a-f]{16}\/worktree)$/gm)];
  for (const [, path] of paths) {
    if (!existsSync(path!)) await git("remove", "--force", path!);
  }
}

async function build(worktree: string, commit: string, signal: AbortSignal): Promise<void> {
  const run = (file: string, command: string[], cwd: string) =>
    execa(file, command, { cwd, cancelSignal: signal, all: true });
  try {
    await run("git", ["worktree", "add", "--detach", "--force", worktree, commit], PROJECT);
    const packages = join(PROJECT, "node_modules");
    if (lockOf(worktree) === lockOf(PROJECT)) symlinkSync(packages, join(worktree, "node_modules"));
    else await run("npm", ["ci", "--ignore-scripts"], worktree);
    await run("npm", ["run", "build"], worktree);
  } catch (cause) {
    if (signal.aborted) throw cause;
    const reason = firstError((cause as { all?: string }).all ?? String(cause));
    throw new UsageError(`${commit} does not build (${reason}); compare with a commit that does.`, { cause });
  }
}

/** The line of a build's output that says what is wrong: the first of the compiler's or of npm's with a sentence in it. */
export function firstError(output: string): string {
  const lines = output.split("\n").map((line) => line.trim());
  const isHeader = (line: string) =>
    /^npm (error|ERR!)( (code|errno|syscall|path|command|signal|A complete log)\b|$)/.test(line);
  return (
    lines.find((line) => /error|ERR!/i.test(line) && !isHeader(line)) ?? lines.filter(Boolean).at(-1) ?? "no output"
  );
}

function lockOf(directory: string): string | null {
  const path = join(directory, "package-lock.json");
  return existsSync(path) ? readFileSync(path, "utf8") : null;
}

/** The commit that `ref` names. @throws UsageError */
export async function resolveCommit(ref: string): Promise<string> {
  const command = ["rev-parse", "--verify", "--quiet", "--end-of-options", `${ref}^{commit}`];
  const found = await execa("git", command, { cwd: PROJECT, reject: false });
  if (!found.failed) return found.stdout.trim();
  throw new UsageError(
    `${JSON.stringify(ref)} names no commit of this repository; fetch it first (a shallow clone has the last commit only).`,
  );
}

/** Modules of the scenarios' folder by name, `many-topics` and so on: a build that has fewer measures less. */
export function scenariosOf(build: string): string[] {
  return readdirSync(join(build, "dist/scenarios"))
    .filter((name) => name.endsWith(".js") && !name.endsWith(".test.js"))
    .map((name) => name.slice(0, -".js".length));
}
