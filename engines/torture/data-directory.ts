import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const MARKER = ".made-by-logduel";

/** A fresh directory inside `parent`, marked by a file, with all that the killed processes write; nothing else is removed. */
export class DataDirectory {
  readonly path: string;
  readonly #owner = randomBytes(8).toString("hex");

  constructor(parent: string) {
    this.path = mkdtempSync(join(resolve(parent), "logduel-data-torture-"));
    writeFileSync(join(this.path, MARKER), this.#owner, { flag: "wx" });
  }

  /** Empties it, but for the marker. */
  clear(): void {
    if (!this.#isOurs()) return;
    for (const name of readdirSync(this.path)) {
      if (name !== MARKER) rmSync(join(this.path, name), { recursive: true, force: true, maxRetries: 3 });
    }
  }

  remove(): void {
    if (this.#isOurs()) rmSync(this.path, { recursive: true, force: true, maxRetries: 3 });
  }

  #isOurs(): boolean {
    const marker = join(this.path, MARKER);
    return existsSync(marker) && readFileSync(marker, "utf8") === this.#owner;
  }
}
