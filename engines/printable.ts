/** Names and bytes come from outside: whatever could move a terminal's cursor, or the reading direction, is replaced. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, "\u{fffd}");
}
