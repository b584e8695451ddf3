import { afterEach } from "vitest";

const { setImmediate: soon } = globalThis; // before a test puts a fake in its place

// Tests that wait for nothing follow one another by microtasks alone. Whole files of them would keep the event loop from
// turning for so long that the runner takes the process for lost ("Timeout calling onTaskUpdate").
afterEach(() => new Promise((resolve) => soon(resolve)));
