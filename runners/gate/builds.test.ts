import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { firstError, forgetLostWorktrees, layOutBuilds, resolveCommit, SAME_BUILD, scenariosOf } from "./builds.js";

const project = SAME_BUILD.candidate;
const git = (...command: string[]) => execa("git", command, { cwd: project });

describe("builds", () => {
  it("say of npm's and the compiler's output what is wrong, and not how it is headed", () => {
    const npm = "npm warn old\nnpm error code EUSAGE\nnpm error\nnpm error `npm ci` can only install packages\n";
    expect(firstError(npm)).toBe("npm error `npm ci` can only install packages");
    expect(firstError("\n> build\n> tsc\n\na.ts(1,2): error TS1: No.\nnpm error code 2\n")).toBe(
      "a.ts(1,2): error TS1: No.",
    );
    expect(firstError("Killed\n")).toBe("Killed");
    expect(firstError("")).toBe("no output");
  });

  it("know the scenarios of a build by file name", () => {
    expect(scenariosOf(project)).toEqual(expect.arrayContaining(["many-partitions", "flush-policy"]));
    expect(scenariosOf(project).some((name) => name.includes("test"))).toBe(false);
  });
});

describe.skipIf(!existsSync(join(project, ".git")))("builds of commits", () => {
  it("resolve names, and refuse what names no commit in one sentence", async () => {
    expect(await resolveCommit("HEAD")).toMatch(/^[0-9a-f]{40}$/);
    for (const ref of ["no-such-ref", "--all", "HEAD:package.json"]) {
      await expect(resolveCommit(ref)).rejects.toThrow(/names no commit of this repository; fetch it first/);
    }
  });

  it("forget the worktree of a gate that was killed once its directory is gone, and no other one", async () => {
    const parent = mkdtempSync(join(tmpdir(), "logduel-builds-"));
    const lost = join(parent, "logduel-data-0123456789abcdef", "worktree");
    const under = join(parent, "logduel-data-fedcba9876543210", "worktree");
    const others = join(parent, "elsewhere");
    mkdirSync(join(lost, ".."));
    mkdirSync(join(under, ".."));
    const list = async () => (await git("worktree", "list", "--porcelain")).stdout;
    try {
      for (const path of [lost, under, others]) await git("worktree", "add", "--detach", "--no-checkout", path, "HEAD");
      rmSync(lost, { recursive: true });
      rmSync(others, { recursive: true });
      await forgetLostWorktrees();
      expect(await list()).not.toContain(lost);
      expect(await list()).toContain(under);
      expect(await list()).toContain(others);
    } finally {
      for (const path of [under, others]) await git("worktree", "remove", "--force", path);
      rmSync(parent, { recursive: true });
    }
  }, 60_000);

  it("leave no worktree behind when a commit does not build", async () => {
    const directory = mkdtempSync(join(tmpdir(), "logduel-builds-"));
    try {
      // A commit of an empty tree, reachable from nowhere.
      const { stdout: tree } = await execa("git", ["mktree"], { cwd: project, input: "" });
      const identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
      const { stdout: commit } = await git(...identity, "commit-tree", tree, "-m", "empty");
      const worktrees = (await git("worktree", "list", "--porcelain")).stdout;
      await expect(layOutBuilds(directory, commit, new AbortController().signal)).rejects.toThrow(
        /^[0-9a-f]{40} does not build \(.+\); compare with a commit that does\.$/,
      );
      expect((await git("worktree", "list", "--porcelain")).stdout).toBe(worktrees);
      expect(readdirSync(directory)).toEqual(["candidate"]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  }, 120_000);
});
