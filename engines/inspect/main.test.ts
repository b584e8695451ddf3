import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { heap } from "../heap.js";
import { DiskStorage } from "../storage/disk-storage.js";
import { inspect } from "./inspect.js";
import { change, fingerprint, flip, look, Workspace, writeCommitlog, writePartitionedLog } from "./testing.js";

const MAIN = fileURLToPath(new URL("./main.js", import.meta.url));
const FIRST_SEGMENT = "00000000000000000000.log";

const workspace = new Workspace();
const partitioned = workspace.path();
const store = workspace.path();

beforeAll(async () => {
  await (await writePartitionedLog(partitioned)).close();
  await (await writeCommitlog(store)).close();
});
afterAll(() => workspace.remove());

function run(...args: string[]) {
  return execa(process.execPath, [MAIN, ...args], { reject: false });
}

describe("npm run inspect", () => {
  it("ends with 0 when nothing is wrong, in words and as JSON", async () => {
    for (const directory of [partitioned, store]) {
      const words = await run(directory);
      expect(words).toMatchObject({ exitCode: 0, stderr: "" });
      expect(words.stdout).toContain("Nothing is wrong.");
      const { exitCode, stdout } = await run(directory, "--json");
      expect(exitCode).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ type: "report", formatVersion: 1, damage: [], path: directory });
    }
  });

  it("ends with 1 and names file and position when something is wrong", async () => {
    const directory = workspace.path();
    cpSync(partitioned, directory, { recursive: true });
    change(join(directory, "orders-1", FIRST_SEGMENT), (bytes) => flip(bytes, 70, 1));
    const { exitCode, stdout } = await run(directory);
    expect(exitCode).toBe(1);
    expect(stdout).toContain("Wrong with 1 file, the first thing in each:\n");
    expect(stdout).toContain(`\n  orders-1/${FIRST_SEGMENT} at byte 0: a record batch with a wrong checksum.\n`);
  });

  it("ends with 2 and a sentence, without a stack trace, when there is nothing to inspect", async () => {
    const empty = workspace.path();
    mkdirSync(empty);
    const pipe = join(empty, "pipe");
    execFileSync("mkfifo", [pipe]);
    const text = join(workspace.root, "notes.txt");
    writeFileSync(text, "no log");
    for (const [args, sentence] of [
      [[], "Missing required argument 'path'"],
      [[partitioned, "--nonsense"], "Unknown option '--nonsense'"],
      [[partitioned, "--topic", "nothing"], `There is no topic "nothing" in ${partitioned}.`],
      [[join(empty, "absent")], `There is no ${empty}/absent. Expected was`],
      [[empty], `Nothing of either engine was recognized in ${empty}. Expected was`],
      [[pipe], `${pipe} is neither a directory nor a regular file.`],
      [[text], `Nothing of either engine was recognized in ${text}. Expected was`],
      [[join(store, "consumequeue")], `Did you mean ${store}?`],
    ] as const) {
      const { exitCode, stdout, stderr } = await run(...args);
      expect({ exitCode, stdout, args }).toEqual({ exitCode: 2, stdout: "", args });
      expect(stderr).toContain(sentence);
      expect(stderr.split("\n").length).toBe(1);
    }
  });

  it("lists batches and records, as lines of JSON before the report's", async () => {
    const { stdout } = await run(store, "--json", "--batches", "--topic", "orders");
    const lines = stdout.split("\n").map((line) => JSON.parse(line));
    expect(lines.map(({ type }) => type)).toEqual([...new Array<string>(120).fill("batch"), "report"]);
    expect(lines[1]).toMatchObject({ topic: "orders", partition: 0, startOffset: 1, messageCount: 1, codec: "none" });
    const words = await run(partitioned, "--batches");
    expect(words.stdout).toContain(`orders-0/${FIRST_SEGMENT} byte 0: orders-0 offset 0, 5 messages, `);
  });

  it("explains itself", async () => {
    const { exitCode, stdout } = await run("--help");
    expect(exitCode).toBe(0);
    for (const word of ["--topic", "--batches", "--all", "--quick", "--json", "Exit codes: 0"])
      expect(stdout).toContain(word);
  });

  it("lets no control character of a name reach the terminal", async () => {
    const directory = workspace.path();
    cpSync(store, directory, { recursive: true });
    const hostile = "\u001b[2J\u009b31m\u202eevil\nname";
    writeFileSync(join(directory, hostile), "");
    writeFileSync(join(directory, `${hostile}.tmp`), "");
    writeFileSync(join(directory, "commitlog", `${hostile}.deleted`), "");
    mkdirSync(join(directory, "consumequeue", hostile, "0"), { recursive: true });
    mkdirSync(join(directory, "consumequeue", "orders", hostile));
    execFileSync("mkfifo", [join(directory, "commitlog", "00000000000000049152.pipe")]);
    const moved = join(workspace.root, hostile);
    renameSync(directory, moved);
    for (const args of [[moved], [moved, "--json", "--batches"], [join(moved, "lock")]]) {
      const { stdout, stderr } = await run(...args);
      expect(stdout + stderr).not.toBe("");
      expect((stdout + stderr).replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    }
    const { stdout } = await run(moved, "--json");
    expect(JSON.parse(stdout)).toMatchObject({ path: moved, damage: [{ file: `${hostile}.tmp` }] });
  });

  it("shows the damaged ones of very many partitions, and all on demand", async () => {
    const directory = workspace.path();
    for (let i = 0; i < 60; i++)
      cpSync(join(partitioned, "orders-0"), join(directory, `many-${i}`), { recursive: true });
    change(join(directory, "many-41", FIRST_SEGMENT), (bytes) => flip(bytes, 70, 1));
    const few = (await run(directory)).stdout;
    expect(few).toContain("1 topic, 60 partitions, 3595 messages");
    expect(few).toContain("59 more without damage, or beyond the limit; --all lists them.");
    expect(few.split("\n").length).toBeLessThan(40);
    expect((await run(directory, "--all")).stdout.split("\n").length).toBeGreaterThan(60);
  });
});

describe("an inspection", () => {
  it("changes nothing, and needs no permission to write", async () => {
    for (const original of [partitioned, store]) {
      const directory = workspace.path();
      cpSync(original, directory, { recursive: true });
      execFileSync("chmod", ["-R", "a-w", directory]);
      const before = fingerprint(directory);
      expect((await run(directory, "--batches")).exitCode).toBe(0);
      expect(fingerprint(directory)).toBe(before);
      execFileSync("chmod", ["-R", "u+w", directory]);
    }
  });

  it("opens files for reading only, and makes no call that could write", () => {
    for (const directory of [partitioned, store]) {
      const disk = new DiskStorage();
      const modes = new Set<string>();
      const storage = {
        list: (path: string) => disk.list(path),
        exists: (path: string) => disk.exists(path),
        readAll: (path: string) => disk.readAll(path),
        isLocked: (path: string) => disk.isLocked(path),
        open: (path: string, mode: "create" | "write" | "read") => {
          modes.add(mode);
          const file = disk.open(path, mode);
          const refuse = () => {
            throw new Error("an inspection writes");
          };
          return Object.assign(Object.create(file), {
            ...{ write: refuse, truncate: refuse, allocate: refuse, sync: refuse, syncNow: refuse, map: refuse },
            read: file.read.bind(file),
            sizeBytes: file.sizeBytes.bind(file),
            dataFrom: file.dataFrom.bind(file),
            close: file.close.bind(file),
          });
        },
      };
      const options = { heap, topic: null, isQuick: false, onBatch: null };
      expect(inspect(storage, directory, options).damage).toEqual([]);
      expect([...modes]).toEqual(["read"]);
      expect(disk.counters).toMatchObject({ writeCalls: 0, syncCalls: 0, filesCreated: 0, filesDeleted: 0 });
    }
  });

  it("reports a file that it may not read, and looks at the others", () => {
    if (process.getuid?.() === 0) return; // root may read all
    const directory = workspace.path();
    cpSync(partitioned, directory, { recursive: true });
    chmodSync(join(directory, "orders-1", FIRST_SEGMENT), 0);
    expect(look(directory).report.damage).toMatchObject([{ kind: "unreadable", file: `orders-1/${FIRST_SEGMENT}` }]);
  });

  it.each([
    ["a partitioned log", writePartitionedLog, { preallocate: true }],
    ["a commitlog store", writeCommitlog, {}],
  ] as const)("of %s in use finds no damage, says so, and leaves the lock held", async (_name, write, settings) => {
    const directory = workspace.path();
    const engine = await write(directory, settings);
    for (const args of [["--json"], ["--json", "--batches"]]) {
      const { exitCode, stdout } = await run(directory, ...args);
      const report = JSON.parse(stdout.split("\n").at(-1)!);
      expect(report).toMatchObject({ inUse: true, damage: [], log: { messageCount: 240 } });
      expect(exitCode).toBe(0);
    }
    expect((await run(directory)).stdout).toContain("in use: a process holds its lock");
    expect(look(directory).report.inUse).toBe(true);
    await engine.close();
    expect(look(directory).report).toMatchObject({ inUse: false, closedCleanly: true, damage: [] });
  });
});
