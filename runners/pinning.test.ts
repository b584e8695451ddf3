import { describe, expect, it } from "vitest";
import { allowedProcessors, choosePinning, pinningSentence } from "./pinning.js";

describe("pinning trials to processors", () => {
  it("keeps all allowed processors but the first for trials, gaps included", () => {
    expect(choosePinning([0, 1, 2, 3])).toEqual({ processors: "1-3", reason: "" });
    expect(choosePinning([2, 3, 5, 6, 7, 9]).processors).toBe("3,5-7,9");
    expect(pinningSentence(choosePinning([0, 1, 2, 3]))).toMatch(/^Trials were pinned to the processors 1-3;/);
  });

  it("pins nothing where no processor can be spared, or none can be chosen, and says so", () => {
    for (const [allowed, why] of [
      [[0, 1, 2], /not pinned to processors: 3 processors, and only of 4/],
      [[0], /: 1 processor,/],
      [null, /taskset/],
    ] as const) {
      const pinning = choosePinning(allowed);
      expect(pinning.processors).toBeNull();
      expect(pinningSentence(pinning)).toMatch(why);
    }
  });

  it("reads the kernel's list", () => {
    expect(allowedProcessors("Name:\tnode\nCpus_allowed_list:\t0-3,8\nMems_allowed:\t1\n")).toEqual([0, 1, 2, 3, 8]);
    expect(allowedProcessors("Cpus_allowed_list:\t5\n")).toEqual([5]);
    expect(allowedProcessors("Name:\tnode\n")).toBeNull();
  });
});
