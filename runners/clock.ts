/** Monotonic time in nanoseconds from an origin; passed in, so that a test can run on a clock of its own. */
export interface Clock {
  nowNs(): number;
}

/**
 * A clock whose zero is `originNs` (of `process.hrtime.bigint`): threads that share an origin share a clock. A reading
 * costs about 50 ns, of which 40 are the clock itself, and allocates nothing: the compiler dissolves the pair that
 * `process.hrtime` returns. (A BigInt is 40 bytes of garbage, and a loop that waits by reading the clock was stopped by
 * the collector 70 times a second.)
 */
export function clockFrom(originNs: bigint): Clock {
  const originSeconds = Number(originNs / 1_000_000_000n);
  const originRestNs = Number(originNs % 1_000_000_000n);
  return {
    nowNs: () => {
      const reading = process.hrtime();
      return (reading[0] - originSeconds) * 1e9 + (reading[1] - originRestNs);
    },
  };
}

/** Readings of the wall clock are whole milliseconds, and a thread may be preempted between two of them. */
const OFFSET_READINGS = 9;

/**
 * By how much the wall clock is ahead of the monotonic one, in nanoseconds, good to a millisecond: of several readings
 * the one that was taken in the least time. Two of these differ by what the wall clock was stepped or slewed meanwhile.
 */
export function wallClockOffsetNs(monotonicNs: () => bigint = process.hrtime.bigint, wallMs = Date.now): number {
  let leastNs = Number.POSITIVE_INFINITY;
  let offsetNs = 0;
  for (let reading = 0; reading < OFFSET_READINGS; reading++) {
    const before = monotonicNs();
    const wallNs = wallMs() * 1e6;
    const tookNs = Number(monotonicNs() - before);
    if (tookNs >= leastNs) continue;
    leastNs = tookNs;
    offsetNs = wallNs - (Number(before) + tookNs / 2);
  }
  return offsetNs;
}
