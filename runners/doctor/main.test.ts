import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execaNode } from "execa";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const MAIN = fileURLToPath(new URL("./main.js", import.meta.url));

describe("npm run doctor", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "logduel-doctor-"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const doctor = (...args: string[]) => execaNode(MAIN, args, { reject: false });

  it("reports every subject and leaves the directory as it is", async () => {
    const before = statSync(directory).mtimeMs;
    const { stdout, exitCode } = await doctor("--dir", directory, "--json");
    const { grade, findings } = JSON.parse(stdout);
    expect(exitCode).toBe(grade === "unfit" ? 3 : 0);
    expect(findings.map(({ subject }: { subject: string }) => subject)).toEqual(
      expect.arrayContaining(["filesystem", "space", "processors", "memory"]),
    );
    expect(readdirSync(directory)).toEqual([]);
    expect(statSync(directory).mtimeMs).toBe(before);
  });

  it("refuses a directory that is not there, and options that do not exist, in one sentence", async () => {
    const missing = await doctor("--dir", join(directory, "missing"));
    expect(missing).toMatchObject({ exitCode: 2, stdout: "" });
    expect(missing.stderr).toMatch(/^.*missing is not a directory; give an existing one as --dir\.$/);
    const unknown = await doctor("--cure");
    expect(unknown).toMatchObject({ exitCode: 2, stdout: "" });
    expect(unknown.stderr).toBe("Unknown option '--cure'; there are --dir <directory>, --json, --help.");
  });
});
