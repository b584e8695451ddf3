/**
 * Loaded before a counted trial (`node --import`): tallies what the process copies, which kernel calls it makes and what
 * it allocates, and writes the totals to the file named by LOGDUEL_TALLY when it exits. Nothing here is timed: the clock
 * goes on by a microsecond with each kernel call, so that nothing counted (a time index's entries, say) depends on how fast
 * the machine is, or on who reads the clock how often while a sync is under way.
 *
 * A copy is a call of what JavaScript copies bytes with (`set`, `slice`, `copyWithin` and `fill` of typed arrays,
 * `Buffer.from`, `Buffer.concat`, `Buffer.copy`); a kernel call is one into a WebAssembly module over the engines' shared
 * heap, a foreign call one into a native library through koffi: moving and summing bytes is what both are for. A
 * byte-by-byte loop is none of these, and shows in the CPU time instead.
 */
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { PerformanceObserver } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";

const TICK_NS = 1_000n;
/** Readings without a kernel call after which somebody must be waiting for time to pass: then each is a tick. */
const PATIENCE = 1_000_000;
const tally = { copyCalls: 0, copiedBytes: 0, kernelCalls: 0, foreignCalls: 0, allocatedBytes: 0, collections: 0 };

if (isMainThread) {
  fixClock();
  watchCopies();
  watchKernels();
  watchForeignCalls();
  watchMemory();
}

function fixClock(): void {
  let nowNs = 1_700_000_000_000_000_000n;
  let seenCalls = 0;
  let idleReadings = 0;
  const tick = () => {
    if (tally.kernelCalls > seenCalls) {
      nowNs += BigInt(tally.kernelCalls - seenCalls) * TICK_NS;
      seenCalls = tally.kernelCalls;
      idleReadings = 0;
    } else if (++idleReadings > PATIENCE) nowNs += TICK_NS;
    return nowNs;
  };
  const pair = ([seconds, nanoseconds]: [number, number] = [0, 0]): [number, number] => {
    const elapsedNs = tick() - BigInt(seconds) * 1_000_000_000n - BigInt(nanoseconds);
    return [Number(elapsedNs / 1_000_000_000n), Number(elapsedNs % 1_000_000_000n)];
  };
  process.hrtime = Object.assign(pair, { bigint: tick });
  Date.now = () => Number(tick() / 1_000_000n);
  performance.now = () => Number(tick() % 1_000_000_000_000_000n) / 1e6;
}

type Callable = (this: unknown, ...parameters: unknown[]) => unknown;
type SizeOf = (result: unknown, parameters: readonly unknown[]) => number;

function watchCopies(): void {
  const ofResult: SizeOf = (result) => byteLength(result);
  const ofFirst: SizeOf = (_, parameters) => byteLength(parameters[0]);
  const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as object;
  watch(typedArray, "set", ofFirst);
  watch(typedArray, "slice", ofResult);
  watch(typedArray, "copyWithin", () => 0);
  watch(typedArray, "fill", () => 0);
  watch(Buffer, "from", ofResult);
  watch(Buffer, "concat", ofResult);
  watch(Buffer.prototype, "copy", (result) => Number(result));
}

function watch(holder: object, name: string, sizeOf: SizeOf): void {
  const original = Reflect.get(holder, name) as Callable;
  const watched: Callable = function (...parameters) {
    const result = original.apply(this, parameters);
    tally.copyCalls++;
    tally.copiedBytes += sizeOf(result, parameters);
    return result;
  };
  Reflect.set(holder, name, watched);
}

function byteLength(value: unknown): number {
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return value.byteLength;
  return Array.isArray(value) || typeof value === "string" ? value.length : 0;
}

/** Kernels are told from other modules (HdrHistogram's) by the shared memory that they import. */
function watchKernels(): void {
  const { Instance } = WebAssembly;
  WebAssembly.Instance = class extends Instance {
    constructor(module: WebAssembly.Module, imports: WebAssembly.Imports = {}) {
      super(module, imports);
      if (!importsSharedMemory(imports)) return;
      const watched = Object.entries(this.exports).map(([name, value]) => [
        name,
        typeof value === "function" ? counting("kernelCalls", value as Callable) : value,
      ]);
      Object.defineProperty(this, "exports", { value: Object.fromEntries(watched) });
    }
  };
}

function importsSharedMemory(imports: WebAssembly.Imports): boolean {
  return Object.values(imports)
    .flatMap((module) => Object.values(module))
    .some((value) => value instanceof WebAssembly.Memory && value.buffer instanceof SharedArrayBuffer);
}

function watchForeignCalls(): void {
  let koffi: { load: Callable };
  try {
    koffi = createRequire(import.meta.url)("koffi");
  } catch {
    return;
  }
  const { load } = koffi;
  koffi.load = (...parameters) =>
    new Proxy(load(...parameters) as { func: Callable }, {
      get: (library, name) => {
        const member = Reflect.get(library, name) as unknown;
        if (typeof member !== "function") return member;
        const method = member.bind(library) as Callable;
        return name === "func" ? (...declaration: unknown[]) => countingForeign(method(...declaration)) : method;
      },
    });
}

/** A declared function with its `async` form. */
function countingForeign(declared: unknown): unknown {
  return new Proxy(declared as Callable & { async?: Callable }, {
    apply: (call, self, parameters) => {
      tally.foreignCalls++;
      return Reflect.apply(call, self, parameters);
    },
    get: (call, name) => {
      const member = Reflect.get(call, name) as unknown;
      return name === "async" ? counting("foreignCalls", member as Callable) : member;
    },
  });
}

function counting(what: "kernelCalls" | "foreignCalls", call: Callable): Callable {
  return (...parameters) => {
    tally[what]++;
    return call(...parameters);
  };
}

/** Exact only without garbage collections, so the trial runs with a young generation that holds all of it. */
function watchMemory(): void {
  const before = memoryInUse();
  new PerformanceObserver((list) => {
    tally.collections += list.getEntries().length;
  }).observe({ entryTypes: ["gc"] });
  process.on("exit", () => {
    tally.allocatedBytes = memoryInUse() - before;
    writeFileSync(process.env.LOGDUEL_TALLY!, JSON.stringify(tally));
  });
}

function memoryInUse(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
