import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SAME_BUILD } from "./builds.js";

/** The workflow's own scripts, run as GitHub runs them: it is not there to try them on. */
const FILE = join(SAME_BUILD.candidate, ".github/workflows/gate.yml");
const workflow = existsSync(FILE) ? readFileSync(FILE, "utf8") : "";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "logduel-workflow-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** The block of text under `key: |`. */
function block(key: string): string {
  const [, indent, rest] = new RegExp(`^( *)${key}: \\|\\n([^]*)`, "m").exec(workflow)!;
  const lines = rest!.split("\n");
  const end = lines.findIndex((line) => line.trim() !== "" && !line.startsWith(`${indent}  `));
  return lines.slice(0, end === -1 ? undefined : end).join("\n");
}

/** A job's text. */
function job(name: string): string {
  return new RegExp(`^  ${name}:\\n((?:    .*\\n|\\n|  #.*\\n)*)`, "m").exec(workflow)![1]!;
}

describe.skipIf(workflow === "")("the workflow", () => {
  it("pins every action to a commit", () => {
    const used = [...workflow.matchAll(/uses: (\S+)(.*)/g)];
    expect(used.length).toBeGreaterThanOrEqual(5);
    for (const [, action, comment] of used) {
      expect(action).toMatch(/^actions\/[a-z-]+@[0-9a-f]{40}$/);
      expect(comment).toMatch(/^ # v\d+\.\d+\.\d+$/);
    }
  });

  it("lets what a pull request brings read only, and the job that comments run nothing of it", () => {
    expect(workflow).toMatch(/^permissions: \{\}$/m);
    expect(workflow).not.toContain("pull_request_target");
    expect(job("gate")).toMatch(/permissions:\n {6}contents: read\n {4}steps/);
    expect(job("gate")).toContain("persist-credentials: false");
    expect(job("comment")).toMatch(/permissions:\n {6}pull-requests: write\n {4}steps/);
    expect(job("comment")).not.toMatch(/checkout|run:/);
    expect(job("comment")).toContain("github.event.pull_request.head.repo.full_name == github.repository");
  });

  it.each([
    [0, 0, ""],
    [1, 1, ""],
    [2, 2, ""],
    [3, 0, "::warning"],
    [4, 4, ""],
    [70, 70, ""],
  ])("turns the gate's exit code %i into %i", async (code, expected, printed) => {
    const { exitCode, stdout } = await gateStep({ EVENT: "pull_request", BEFORE: "" }, code);
    expect(exitCode).toBe(expected);
    expect(stdout.startsWith(printed)).toBe(true);
    expect(stdout.includes("::")).toBe(printed !== "");
  });

  it("compares a merge with its base, a push with what was there, and a forced one with the commit before", async () => {
    const { first, second, merge } = await history();
    expect((await gateStep({ EVENT: "pull_request", BEFORE: "" })).against).toBe(second);
    expect((await gateStep({ EVENT: "push", BEFORE: first })).against).toBe(first);
    for (const gone of ["0".repeat(40), "1".repeat(40), ""]) {
      expect((await gateStep({ EVENT: "push", BEFORE: gone })).against).toBe(second);
    }
    expect(new Set([first, second, merge]).size).toBe(3);
  });

  it("writes one comment, and over it from then on, never over somebody else's", async () => {
    const mark = "<!-- logduel gate -->";
    const done: string[] = [];
    const comments = [{ id: 1, user: { type: "User" }, body: `${mark} not ours` }];
    const say = async (body: string) => {
      mkdirSync(join(directory, "gate-results"), { recursive: true });
      writeFileSync(join(directory, "gate-results/gate.md"), `${mark}\n${body}`);
      await comment({
        list: comments,
        updateComment: ({ comment_id, body: text }) => done.push(`update ${comment_id} ${text.length}`),
        createComment: ({ body: text }) => {
          comments.push({ id: 2, user: { type: "Bot" }, body: text });
          done.push("create");
        },
      });
    };
    await say("first");
    await say("x".repeat(200_000));
    expect(done[0]).toBe("create");
    expect(done[1]).toMatch(/^update 2 650\d\d$/);
    expect(done).toHaveLength(2);
  });
});

async function git(...args: string[]): Promise<string> {
  const identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"];
  return (await execa("git", [...identity, ...args], { cwd: directory })).stdout.trim();
}

/** Two commits and a merge on top of the second, in `directory`. */
async function history() {
  if (!existsSync(join(directory, ".git"))) {
    await git("init", "-q", "-b", "main");
    await git("commit", "-q", "--allow-empty", "-m", "first");
    await git("checkout", "-q", "-b", "other");
    await git("commit", "-q", "--allow-empty", "-m", "other");
    await git("checkout", "-q", "main");
    await git("commit", "-q", "--allow-empty", "-m", "second");
    await git("merge", "-q", "--no-ff", "-m", "merge", "other");
  }
  const [merge, second, first] = (await git("rev-list", "--first-parent", "HEAD")).split("\n") as [
    string,
    string,
    string,
  ];
  return { first, second, merge };
}

/** Runs the step with an `npm` that notes what it is told and ends with `code`. */
async function gateStep(environment: Record<string, string>, code = 0) {
  await history();
  const bin = join(directory, "bin");
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, "npm"), `#!/bin/sh\nprintf '%s\\n' "$@" > "$NOTE"\nexit ${code}\n`);
  chmodSync(join(bin, "npm"), 0o755);
  const note = join(directory, "note");
  const { exitCode, stdout } = await execa("bash", ["-e", "-c", block("run")], {
    cwd: directory,
    reject: false,
    env: { ...environment, NOTE: note, PATH: `${bin}:${process.env.PATH}` },
  });
  const told = readFileSync(note, "utf8").trim().split("\n");
  return { exitCode, stdout, against: told[told.indexOf("--against") + 1] };
}

interface Comments {
  readonly list: readonly { id: number; user: { type: string }; body: string }[];
  readonly updateComment: (call: { comment_id: number; body: string }) => void;
  readonly createComment: (call: { body: string }) => void;
}

/** Runs the script of the comment as `actions/github-script` does, in `directory`. */
async function comment({ list, updateComment, createComment }: Comments): Promise<void> {
  const AsyncFunction = Object.getPrototypeOf(comment).constructor as FunctionConstructor;
  const inDirectory = {
    existsSync: (path: string) => existsSync(join(directory, path)),
    readFileSync: (path: string, encoding: BufferEncoding) => readFileSync(join(directory, path), encoding),
  };
  const github = {
    paginate: async () => list,
    rest: { issues: { listComments: null, updateComment, createComment } },
  };
  const context = { repo: { owner: "o", repo: "r" }, issue: { number: 1 } };
  const run = new AsyncFunction("require", "github", "context", block("script"));
  await run(() => inDirectory, github, context);
}
