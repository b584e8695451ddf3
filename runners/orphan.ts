/** What a trial's process does when the command that started it is gone, killed perhaps: it must not go on by itself. */

const parentId = process.ppid;

/** Whether the process that started this one has ended; works in every thread, also while the main thread hangs. */
export function isOrphan(): boolean {
  return process.ppid !== parentId;
}

/** Kills this process at once with all that it started: `runChild` made it the leader of its process group. */
export function endWithChildren(): void {
  killGroup(process.pid);
  process.kill(process.pid, "SIGKILL");
}

/** Kills the process group with this leader, also where the leader has ended; nothing happens if there is none. */
export function killGroup(leaderId: number): void {
  try {
    process.kill(-leaderId, "SIGKILL");
  } catch (error) {
    // Of a group with nobody left; macOS says EPERM of one whose members are only waiting to be reaped.
    if (!["ESRCH", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}
