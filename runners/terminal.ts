/** Text for the terminal: names come from outside, so whatever could move the cursor or reverse the text is replaced. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, "\u{fffd}");
}
