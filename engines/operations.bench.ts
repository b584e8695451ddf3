/**
 * `npm run bench:micro`, second part: the distribution of one operation of each engine. tinybench keeps every sample, so
 * the tails are real; but it runs its tasks one after another, so they are not to be compared with each other.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Bench } from "tinybench";
import { Message } from "./engine.js";
import { heap } from "./heap.js";
import { engineNames, loadEngine } from "./registry.js";
import { DiskStorage } from "./storage/disk-storage.js";

const MESSAGE_SIZE_BYTES = 1_024;
const FETCH_SIZE_BYTES = 65_536;
const STORED_MESSAGES = 20_000;
const TIME_MS = 500;

const parent = mkdtempSync(join(process.cwd(), ".logduel-bench-"));
const message = new Message(heap, heap.place(new Uint8Array(MESSAGE_SIZE_BYTES).fill(0x6c)));
const bench = new Bench({ time: TIME_MS, iterations: 1_000 });
const closers: (() => Promise<void>)[] = [];
try {
  for (const name of engineNames()) {
    const definition = await loadEngine(name);
    const engine = await definition.open({
      directory: join(parent, name),
      storage: new DiskStorage(),
      heap,
      settings: {},
      listener: { acknowledged: () => {}, failed: () => {} },
    });
    closers.push(() => engine.close());
    const [partition] = await engine.createTopic("bench", 1);
    bench.add(`${name}: append and poll, 1 KiB`, () => {
      engine.append(partition!, message, 1_700_000_000_000);
      engine.poll();
    });
    if (!definition.storesMessages) continue;
    for (let i = 0; i < STORED_MESSAGES; i++) {
      while (!engine.append(partition!, message, 1_700_000_000_000)) engine.poll();
    }
    await engine.flush();
    let offset = 0;
    bench.add(`${name}: fetch 64 KiB`, async () => {
      const { nextOffset } = await engine.fetch(partition!, offset, FETCH_SIZE_BYTES, () => {});
      offset = nextOffset < STORED_MESSAGES ? nextOffset : 0;
    });
  }
  await bench.run();
  console.table(bench.table());
} finally {
  for (const close of closers) await close();
  rmSync(parent, { recursive: true, force: true });
}
