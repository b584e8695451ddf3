import { describe, expect, it } from "vitest";
import { chooseProcessors } from "./processors.js";

describe("the processors of a duet", () => {
  it.each([
    ["0-1", [0, 1]],
    ["3", [3, 3]],
    ["2-5,8,10-11", [2, 11]],
    ["0,4", [0, 4]],
  ])("of those allowed, %s, are the first and the last", (list, chosen) => {
    expect(chooseProcessors(`Name:\tnode\nCpus_allowed:\tff\nCpus_allowed_list:\t${list}\nMems_allowed:\t1\n`)).toEqual(
      chosen,
    );
  });

  it("are none where the kernel does not say", () => {
    expect(chooseProcessors("Name:\tnode\n")).toBeNull();
  });
});
