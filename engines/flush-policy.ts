import { z } from "zod";

/**
 * When written bytes are made durable and when an append is acknowledged.
 *
 * - `async`: the operating system decides; acknowledged once written (D1).
 * - `every`: acknowledged once written (D1); a sync starts after that many messages or milliseconds.
 * - `sync`: acknowledged once fdatasync has returned (D2); appends that wait together share one (group commit).
 */
export const flushPolicySchema = z.union([
  z.literal("async"),
  z.literal("sync"),
  z.strictObject({
    every: z
      .strictObject({ messages: z.int().positive().optional(), ms: z.number().positive().optional() })
      .refine((every) => every.messages !== undefined || every.ms !== undefined, "give messages, ms or both"),
  }),
]);

export type FlushPolicy = z.infer<typeof flushPolicySchema>;

/** What an acknowledgement under `policy` means, for an engine that writes before it acknowledges. */
export function durabilityOf(policy: FlushPolicy): "D1" | "D2" {
  return policy === "sync" ? "D2" : "D1";
}
