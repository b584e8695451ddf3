import { OpenError } from "./errors.js";

/** What a filesystem that takes no more says, and what helps. */
const REFUSALS: Readonly<Record<string, readonly [what: string, remedy: string]>> = {
  ENOSPC: ["the filesystem has no space left", "Free some there, or move the directory to a larger one"],
  EDQUOT: ["the disk quota is used up", "Free some space of the same user there, or have the quota raised"],
  EROFS: [
    "the filesystem is read-only",
    "Mount it writable, or look at the directory with npm run inspect, which writes nothing",
  ],
};

/**
 * Runs what opens an engine's directory, which writes even where nothing is to be mended: locks, markers, the next file.
 * @throws OpenError for a disk that takes nothing, with the system's error as its cause; any other error as it is
 */
export async function openOnDisk<Engine>(directory: string, open: () => Engine | Promise<Engine>): Promise<Engine> {
  try {
    return await open();
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    const refusal = code === undefined ? undefined : REFUSALS[code];
    if (refusal === undefined) throw error;
    const [what, remedy] = refusal;
    throw new OpenError(
      `${directory} cannot be opened: ${what} (${code} at ${path ?? directory}). ${remedy}, and open it again: what is acknowledged stays.`,
      { cause: error },
    );
  }
}
