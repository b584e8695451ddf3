import { expect, it } from "vitest";
import { chooseProcessors } from "./processors.js";

it("takes the first and the last processor, or the only one twice", () => {
  expect(chooseProcessors([0, 1])).toEqual([0, 1]);
  expect(chooseProcessors([2, 3, 4, 9])).toEqual([2, 9]);
  expect(chooseProcessors([5])).toEqual([5, 5]);
});
