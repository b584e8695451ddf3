import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/**
 * Makes a directory and the parents it lacks; nothing happens if it is there. One by one, as Node's own `recursive` never
 * returns below /proc, where making a directory fails with ENOENT although the parent is there.
 * @throws as `fs.mkdirSync` does, also where a file stands in the way of a parent
 */
export function makeDirectory(path: string): void {
  const missing: string[] = [];
  let at = resolve(path);
  // Whatever cannot be looked at counts as missing: making it then fails and says why.
  while (!existsSync(at) && dirname(at) !== at) {
    missing.push(at);
    at = dirname(at);
  }
  if (missing.length === 0 && !statSync(at).isDirectory()) mkdirSync(at);
  for (const directory of missing.reverse()) mkdirSync(directory);
}
