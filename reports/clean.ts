/** Names and causes come from files and programs that others write; nothing of them may steer a terminal or a reader's eye. */

import { stripVTControlCharacters } from "node:util";

/** Marks that turn or isolate the direction of writing: one of them reverses the rest of a paragraph. */
const DIRECTION_MARKS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const LINE_BREAKS = /[\t\n\v\f\r\u0085\u2028\u2029]+/g;
const CONTROL_CHARACTERS = /\p{Cc}/gu;

/** A stored record with every text in it on one line and free of escape sequences, control characters, direction marks. */
export function cleanRecord<T>(record: T): T {
  return cleanValue(record) as T;
}

function cleanText(text: string): string {
  return stripVTControlCharacters(text)
    .replace(LINE_BREAKS, " ")
    .replace(CONTROL_CHARACTERS, "")
    .replace(DIRECTION_MARKS, "");
}

function cleanValue(value: unknown): unknown {
  if (typeof value === "string") return cleanText(value);
  if (Array.isArray(value)) return value.map(cleanValue);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [cleanText(key), cleanValue(inner)]));
}
