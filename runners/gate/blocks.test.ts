import { describe, expect, it } from "vitest";
import { blockOrders, reversedOrders } from "./blocks.js";

describe("blockOrders", () => {
  it("mirrors each block, so that even drift cancels for every arm", () => {
    for (const order of blockOrders(20, 4)) {
      expect(order.toReversed()).toEqual(order);
      for (const arm of ["reference", "guard", "candidate"] as const) {
        const places = order.flatMap((other, place) => (other === arm ? [place] : []));
        expect(places).toHaveLength(2);
        expect(places[0]! + places[1]!).toBe(5);
      }
    }
  });

  it("has every order once in six blocks, shuffled by the seed", () => {
    const orders = blockOrders(12, 1).map((order) => order.join());
    expect(new Set(orders.slice(0, 6)).size).toBe(6);
    expect(new Set(orders.slice(6)).size).toBe(6);
    expect(blockOrders(12, 1)).toEqual(blockOrders(12, 1));
    expect(blockOrders(12, 2)).not.toEqual(blockOrders(12, 1));
  });
});

describe("reversedOrders", () => {
  it("lets candidate and reference change places", () => {
    expect(reversedOrders([["reference", "guard", "candidate", "candidate", "guard", "reference"]])).toEqual([
      ["candidate", "guard", "reference", "reference", "guard", "candidate"],
    ]);
  });
});
