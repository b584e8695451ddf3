import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { valueAt } from "./appending-thread.js";
import type { KilledProcessTask } from "./killed-process.js";
import { LOCK_KINDS } from "./lock.js";
import { ENGINES, open, readAll, SMALL, temporaryDirectory } from "./testing.js";

const PROCESS = fileURLToPath(new URL("./killed-process.js", import.meta.url));
const WRITER_COUNT = 3;
const LIVES = 2;
const MOST_ACKNOWLEDGED = 1_500;

const cases = ENGINES.flatMap((engine) =>
  (["sync", "async"] as const).map((flush, i) => ({ engine, flush, lock: LOCK_KINDS[i % LOCK_KINDS.length]! })),
);

it.each(cases)(
  "$engine keeps what threads of one partition had acknowledged, each thread's in order and without a gap, after kill -9 ($lock lock, $flush)",
  async ({ engine, flush, lock }) => {
    const directory = temporaryDirectory();
    const acknowledged = new Map<number, string>();
    for (let life = 0; life < LIVES; life++) {
      const settings = { ...SMALL[engine], flush, lock };
      await liveAndDie({ engine, directory, settings, life, writerCount: WRITER_COUNT }, acknowledged);
      const opened = await open(engine, directory, settings);
      const values = await readAll(opened.engine, opened.partitions[0]!);
      await opened.engine.close();

      const missing = [...acknowledged].filter(([offset, value]) => values[offset] !== value);
      expect(missing.slice(0, 3)).toEqual([]);
      const nextOf = new Map<string, number>();
      for (const value of values) {
        const name = value.slice(0, value.indexOf(";"));
        const next = nextOf.get(name) ?? 0;
        expect(value).toBe(valueAt(name, next).toString());
        nextOf.set(name, next + 1);
      }
    }
    expect(acknowledged.size).toBeGreaterThanOrEqual(LIVES);
  },
);

/** Kills the process at a random moment after all its threads have begun, and adds what it acknowledged until then, by offset. */
async function liveAndDie(task: KilledProcessTask, acknowledged: Map<number, string>): Promise<void> {
  const child = spawn(process.execPath, [PROCESS, JSON.stringify(task)], {
    stdio: ["ignore", "ignore", "inherit", "pipe"],
  });
  const ended = once(child, "exit");
  const killAt = acknowledged.size + 1 + Math.floor(Math.random() * MOST_ACKNOWLEDGED);
  const nextOf = new Map<string, number>();
  for await (const line of createInterface({ input: child.stdio[3] as Readable })) {
    const [name, baseOffset, messageCount] = line.split(" ") as [string, string, string];
    for (let i = 0; i < Number(messageCount); i++) {
      const offset = Number(baseOffset) + i;
      if (acknowledged.has(offset)) expect.fail(`${offset} acknowledged twice`);
      const next = nextOf.get(name) ?? 0;
      acknowledged.set(offset, valueAt(name, next).toString());
      nextOf.set(name, next + 1);
    }
    if (acknowledged.size >= killAt && nextOf.size > task.writerCount) child.kill("SIGKILL");
  }
  const [code, signal] = await ended;
  expect({ code, signal }).toEqual({ code: null, signal: "SIGKILL" });
}
