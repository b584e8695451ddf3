import { expect, it } from "vitest";
import { flushPolicySchema } from "./flush-policy.js";

it("takes the three policies and nothing else", () => {
  const every = [{ messages: 1 }, { ms: 0.5 }, { messages: 1_000, ms: 200 }].map((limits) => ({ every: limits }));
  for (const policy of ["async", "sync", ...every]) expect(flushPolicySchema.parse(policy)).toEqual(policy);
  const wrong = [
    "always",
    {},
    { every: {} },
    { every: { messages: 0 } },
    { every: { messages: 1.5 } },
    { every: { ms: -1 } },
    { every: { ms: 1, seconds: 1 } },
    { every: { ms: 1 }, sync: true },
  ];
  for (const policy of wrong) expect(flushPolicySchema.safeParse(policy).success, JSON.stringify(policy)).toBe(false);
});
