import { listenFor } from "../neighbours.js";

/** What others do with the machine while nothing of the gate runs. */
export interface Moment {
  /** Share of all processors that is busy, or that the hypervisor withholds. */
  readonly busyFraction: number;
  readonly writtenBytesPerSecond: number;
}

const LISTEN_MS = 150;
const BUSY_LIMIT = 0.4;
const WRITING_LIMIT = 20e6;

/** Listens for a moment; null where the platform does not tell. */
export async function listen(deviceStatPath: string | null): Promise<Moment | null> {
  const heard = await listenFor(LISTEN_MS, deviceStatPath);
  if (heard === null) return null;
  const { busyFraction, stealFraction, writtenBytesPerSecond } = heard;
  return { busyFraction: busyFraction + stealFraction, writtenBytesPerSecond };
}

/** What others did most of the time: one sentence each. Pure. */
export function disturbances(moments: readonly Moment[]): string[] {
  const most = (isDisturbed: (moment: Moment) => boolean) =>
    moments.length > 0 && moments.filter(isDisturbed).length > moments.length / 2;
  return [
    ...(most(({ busyFraction }) => busyFraction > BUSY_LIMIT)
      ? ["The machine is busy with something else: its processors are in use while nothing of the gate runs."]
      : []),
    ...(most(({ writtenBytesPerSecond }) => writtenBytesPerSecond > WRITING_LIMIT)
      ? ["Something else writes to the device while nothing of the gate runs."]
      : []),
  ];
}
