import { seededRandom, shuffle } from "../../results/random.js";

/** What a trial of a block runs: the reference, the reference once more (the A/A guard), or the candidate. */
export type Arm = "reference" | "guard" | "candidate";

const ORDERS: readonly (readonly Arm[])[] = [
  ["reference", "guard", "candidate"],
  ["reference", "candidate", "guard"],
  ["guard", "reference", "candidate"],
  ["guard", "candidate", "reference"],
  ["candidate", "reference", "guard"],
  ["candidate", "guard", "reference"],
];

/**
 * The order of the trials of each block: the three arms, then the same mirrored (ABBA), so that a machine that drifts
 * evenly slows all arms alike. Each run of six blocks has all six orders, shuffled by the seed, so that no arm keeps to
 * the outside.
 */
export function blockOrders(blockCount: number, seed: number): Arm[][] {
  const random = seededRandom(seed);
  const orders: Arm[][] = [];
  while (orders.length < blockCount) {
    for (const half of shuffle([...ORDERS], random)) orders.push([...half, ...half.toReversed()]);
  }
  return orders.slice(0, blockCount);
}

/** The same blocks with candidate and reference changing places: how a suspicion is confirmed. */
export function reversedOrders(orders: readonly (readonly Arm[])[]): Arm[][] {
  const swapped = { reference: "candidate", candidate: "reference", guard: "guard" } as const;
  return orders.map((order) => order.map((arm) => swapped[arm]));
}
