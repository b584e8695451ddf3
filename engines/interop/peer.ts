import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { invariant } from "../invariant.js";

/** The original whose classes a peer drives; also the folder that holds its pom.xml and its one Java file. */
export type PeerName = "kafka" | "rocketmq";

const MAIN_CLASSES = { kafka: "KafkaPeer", rocketmq: "RocketmqPeer" } as const satisfies Record<PeerName, string>;
/** Records, switch expressions and HexFormat. */
const MINIMUM_JAVA_MAJOR = 17;
/** RocketMQ unmaps its files through the JDK's internals. */
const OPENED_INTERNALS = ["java.nio", "sun.nio.ch", "jdk.internal.ref"].flatMap((name) => [
  `--add-opens=java.base/${name}=ALL-UNNAMED`,
  `--add-exports=java.base/${name}=ALL-UNNAMED`,
]);
const JVM_FLAGS = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", ...OPENED_INTERNALS];

/** A compiled peer with its class path, or the reason why this machine has none. */
export type PeerSetup =
  | { readonly state: "ready"; readonly name: PeerName; readonly classPath: string }
  | { readonly state: "absent"; readonly reason: string };

/**
 * Fetches the original's released artifacts with Maven and compiles the peer against them, once: both are kept in the
 * user's cache under a hash of what they were made from, so that later runs need neither Maven nor a network.
 */
export async function preparePeer(name: PeerName): Promise<PeerSetup> {
  const java = await javaMajor();
  if (java === null) return absent("there is no Java");
  if (java < MINIMUM_JAVA_MAJOR) return absent(`Java is ${java}, and the peers need ${MINIMUM_JAVA_MAJOR}`);

  const sources = join(packageRoot(), "engines", "interop", name);
  const pom = join(sources, "pom.xml");
  const source = join(sources, `${MAIN_CLASSES[name]}.java`);
  const pomHash = hashOf(readFileSync(pom));
  const jars = join(cacheDirectory(), `${name}-jars-${pomHash}`);
  const classes = join(cacheDirectory(), `${name}-classes-${hashOf(readFileSync(source), pomHash, String(java))}`);
  try {
    await makeOnce(jars, (directory) =>
      execa("mvn", [
        "--batch-mode",
        "--quiet",
        ...["--file", pom],
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        `-DoutputDirectory=${directory}`,
      ]),
    );
  } catch (error) {
    return absent(`Maven did not fetch the classes (${firstLine(error)})`);
  }
  try {
    await makeOnce(classes, (directory) =>
      execa("javac", ["-J-Xmx256m", "-nowarn", "-cp", join(jars, "*"), "-d", directory, source]),
    );
  } catch (error) {
    if (isMissingCommand(error)) return absent("there is no Java compiler");
    throw error;
  }
  return { state: "ready", name, classPath: `${classes}:${join(jars, "*")}` };

  function absent(reason: string): PeerSetup {
    return { state: "absent", reason: `Skipped: compatibility with ${name}, because ${reason}.` };
  }
}

/** A Java process that answers requests one after another; its protocol stands at the head of its Java file. */
export class Peer {
  readonly #temporary = mkdtempSync(join(tmpdir(), "logduel-peer-"));
  readonly #child;
  readonly #exited: Promise<void>;
  readonly #waiting: ((line: string | null) => void)[] = [];

  constructor(setup: PeerSetup & { state: "ready" }) {
    const flags = [...JVM_FLAGS, `-Djava.io.tmpdir=${this.#temporary}`, `-Duser.home=${this.#temporary}`];
    this.#child = spawn("java", [...flags, "-cp", setup.classPath, MAIN_CLASSES[setup.name]], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.stdin.on("error", () => {}); // a dead peer is reported by the request that waits for it
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#waiting.shift()?.(line));
    this.#exited = new Promise((resolve) => {
      this.#child.once("close", () => {
        for (const wake of this.#waiting.splice(0)) wake(null);
        rmSync(this.#temporary, { recursive: true, force: true });
        resolve();
      });
    });
  }

  /** @throws Error with what Java said, if the request failed there */
  async request<Answer>(command: string, fields: Readonly<Record<string, unknown>>): Promise<Answer> {
    const answered = new Promise<string | null>((resolve) => this.#waiting.push(resolve));
    this.#child.stdin.write(`${JSON.stringify({ command, ...fields })}\n`);
    const line = await answered;
    if (line === null) throw new Error(`The peer ended before it answered "${command}".`);
    const answer = JSON.parse(line) as { ok?: Answer; error?: string };
    if (answer.error !== undefined) throw new Error(`The peer failed at "${command}": ${answer.error}`);
    invariant(answer.ok !== undefined, "a peer answers ok or error");
    return answer.ok;
  }

  /** As a crash would end it: nothing is closed, nothing is flushed. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  /** Ends the process; what is still open stays as it is, so close it first. */
  async end(): Promise<void> {
    this.#child.stdin.end();
    await this.#exited;
  }
}

/** Runs `make` in an empty directory that becomes `directory` only when it succeeded. */
async function makeOnce(directory: string, make: (temporary: string) => Promise<unknown>): Promise<void> {
  if (existsSync(directory)) return;
  mkdirSync(dirname(directory), { recursive: true });
  const temporary = mkdtempSync(`${directory}.`);
  try {
    await make(temporary);
    renameSync(temporary, directory);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    if (!existsSync(directory)) throw error; // otherwise another run made it meanwhile
  }
}

async function javaMajor(): Promise<number | null> {
  try {
    const { stdout } = await execa("java", ["--version"]);
    return Number(/\b(\d+)\b/.exec(stdout)?.[1] ?? 0);
  } catch {
    return null; // none at all, or one from before Java 9, which does not know --version
  }
}

function cacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "logduel", "interop");
}

function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, "package.json"))) directory = dirname(directory);
  return directory;
}

function hashOf(...parts: (Uint8Array | string)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex").slice(0, 16);
}

function isMissingCommand(error: unknown): boolean {
  return (error as { code?: string }).code === "ENOENT";
}

function firstLine(error: unknown): string {
  if (isMissingCommand(error)) return "mvn is not installed";
  const { stdout, message } = error as { stdout?: string; message: string };
  return (stdout || message).split("\n", 1)[0]!;
}
