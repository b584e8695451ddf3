import { describe, expect, it } from "vitest";
import { disturbances } from "./quiet.js";

const quiet = { busyFraction: 0.05, writtenBytesPerSecond: 1e5 };
const busy = { busyFraction: 0.9, writtenBytesPerSecond: 1e5 };
const written = { busyFraction: 0.05, writtenBytesPerSecond: 9e7 };

describe("disturbances", () => {
  it("are none while others are busy now and then", () => {
    expect(disturbances([])).toEqual([]);
    expect(disturbances([quiet, busy, quiet, written])).toEqual([]);
  });

  it("name what is busy most of the time", () => {
    expect(disturbances([busy, busy, quiet])).toEqual([expect.stringContaining("processors are in use")]);
    expect(disturbances([written, written, quiet])).toEqual([expect.stringContaining("writes to the device")]);
  });
});
