import { describe, expect, it } from "vitest";
import { blockOrders, reversedOrders } from "./blocks.js";

describe("blockOrders", () => {
  it("places both sides about the middle of each block, so that even drift cancels", () => {
    for (const order of blockOrders(20, 4)) {
      const places = order.flatMap((arm, place) => (arm === "candidate" ? [place] : []));
      expect(places).toHaveLength(2);
      expect(places[0]! + places[1]!).toBe(3);
      expect([...order].sort()).toEqual(["candidate", "candidate", "guard", "reference"]);
    }
  });

  it("has every order once in four blocks, shuffled by the seed", () => {
    const orders = blockOrders(12, 1).map((order) => order.join());
    for (const at of [0, 4, 8]) expect(new Set(orders.slice(at, at + 4)).size).toBe(4);
    expect(blockOrders(12, 1)).toEqual(blockOrders(12, 1));
    expect(blockOrders(12, 2)).not.toEqual(blockOrders(12, 1));
    expect(blockOrders(3, 1)).toEqual(blockOrders(12, 1).slice(0, 3));
  });
});

describe("reversedOrders", () => {
  it("lets candidate and reference change places, and keeps the copies of the reference in their order", () => {
    expect(
      reversedOrders([
        ["reference", "candidate", "candidate", "guard"],
        ["candidate", "guard", "reference", "candidate"],
      ]),
    ).toEqual([
      ["candidate", "reference", "guard", "candidate"],
      ["guard", "candidate", "candidate", "reference"],
    ]);
  });
});
