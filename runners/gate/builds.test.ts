import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { layOutBuilds, resolveCommit, SAME_BUILD, scenariosOf } from "./builds.js";

const project = SAME_BUILD.candidate;
const git = (...command: string[]) => execa("git", command, { cwd: project });

describe("builds", () => {
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
