/** Our own bug, never the user's or the disk's: stop. */
export class InvariantError extends Error {
  override name = "InvariantError";
}

/**
 * Stops when a property that the code relies on does not hold. The text must be a constant: a template literal is
 * built even when the check passes.
 */
export function invariant(condition: boolean, property: string): asserts condition {
  if (!condition) throw new InvariantError(`Broken invariant: ${property}.`);
}
