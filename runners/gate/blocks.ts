import { seededRandom, shuffle } from "../../results/random.js";

/**
 * What a trial of a block runs: the candidate, or the reference. The reference runs from two copies, of which one is
 * called the guard: the two are compared with each other too (A/A), and differ only if the method is at fault.
 */
export type Arm = "reference" | "guard" | "candidate";

const ORDERS: readonly (readonly Arm[])[] = [
  ["reference", "candidate", "candidate", "guard"],
  ["guard", "candidate", "candidate", "reference"],
  ["candidate", "reference", "guard", "candidate"],
  ["candidate", "guard", "reference", "candidate"],
];

/**
 * The order of the trials of each block: ABBA or BAAB, so that a machine that drifts evenly slows both sides alike. Each
 * run of four blocks has all four orders, shuffled by the seed, so that neither side keeps to the outside and neither copy
 * of the reference to the front.
 */
export function blockOrders(blockCount: number, seed: number): Arm[][] {
  const random = seededRandom(seed);
  const orders: Arm[][] = [];
  while (orders.length < blockCount) orders.push(...shuffle([...ORDERS], random).map((order) => [...order]));
  return orders.slice(0, blockCount);
}

/** The same blocks with candidate and reference changing places, ABBA for BAAB: how a suspicion is confirmed. */
export function reversedOrders(orders: readonly (readonly Arm[])[]): Arm[][] {
  return orders.map((order) => {
    const copies = order.filter((arm) => arm !== "candidate");
    return order.map((arm) => (arm === "candidate" ? copies.shift()! : "candidate"));
  });
}
