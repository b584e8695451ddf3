/**
 * System calls that a storage made, by kind: all of them, but for what a library makes of one of `other` (a directory that
 * is listed is opened, read and closed) and what Node does behind everybody's back (its pool's wakings, its clock).
 */
export interface SystemCalls {
  open: number;
  close: number;
  /** pwrite and pread. */
  write: number;
  read: number;
  fdatasync: number;
  fsync: number;
  msync: number;
  mmap: number;
  madvise: number;
  fallocate: number;
  ftruncate: number;
  fadvise: number;
  /** Size, time or existence of one file. */
  stat: number;
  rename: number;
  unlink: number;
  /** Directories made, removed or listed, locks, limits and free space. */
  other: number;
}

export function noSystemCalls(): SystemCalls {
  return {
    open: 0,
    close: 0,
    write: 0,
    read: 0,
    fdatasync: 0,
    fsync: 0,
    msync: 0,
    mmap: 0,
    madvise: 0,
    fallocate: 0,
    ftruncate: 0,
    fadvise: 0,
    stat: 0,
    rename: 0,
    unlink: 0,
    other: 0,
  };
}
