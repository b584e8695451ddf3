/**
 * How all commands read their arguments: one wording for what is wrong with them. It lies here, with printable.ts, because
 * the commands of this folder may import nothing from outside of it; it knows nothing of engines.
 */
import { type Command, CommanderError } from "commander";

/** The command line asks for what does not exist, or says what cannot be; one sentence. */
export class UsageError extends Error {
  override name = "UsageError";
}

/**
 * Lets `command` parse `args`, which do not begin with the program's name. Adds `--help`.
 * @throws UsageError that lists what exists; CommanderError with exit code 0 after `--help`
 */
export function parseCommand(command: Command, args: readonly string[]): void {
  command
    .helpOption("--help", "show this help, and end")
    .allowExcessArguments(true)
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  const places = command.registeredArguments;
  const names = [
    ...places.map((place) => (place.variadic ? `<${place.name()}...>` : `<${place.name()}>`)),
    ...command.options.map(({ flags }) => flags),
    "--help",
  ].join(", ");
  try {
    command.parse([...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError) || error.exitCode === 0) throw error;
    throw new UsageError(`${sentenceOf(error)}; there are ${names}.`, { cause: error });
  }
  if (places.at(-1)?.variadic !== true && command.args.length > places.length) {
    throw new UsageError(
      `${JSON.stringify(command.args[places.length])} is one argument too many; there are ${names}.`,
    );
  }
}

/** Commander's message without its prefix, its full stop, and the guess at what was meant that follows it. */
function sentenceOf({ message }: CommanderError): string {
  const [first] = message.replace(/^error: /, "").split("\n");
  const text = first!.replace(/\.$/, "");
  return `${text[0]!.toUpperCase()}${text.slice(1)}`;
}
