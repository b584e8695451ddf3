/**
 * A lock between threads: one word of shared memory.
 *
 *   0                       free
 *   holder × 2              held by the writer of that number
 *   holder × 2 + 1          held, and somebody may sleep until it is released
 *
 * `spin` tries again and again, and sleeps a moment after so many tries in vain, so that it makes headway where there are
 * more threads than processors (RocketMQ's PutMessageSpinLock, with the retreat of its adaptive lock). `blocking` tries
 * for a moment, too, since what it guards takes less than falling asleep, and then sleeps in the kernel until it is woken
 * (a Java ReentrantLock; here after Drepper, "Futexes are tricky", 2011). Neither is fair.
 */
export type LockKind = "spin" | "blocking";
export const LOCK_KINDS = ["blocking", "spin"] as const satisfies readonly LockKind[];

/** RocketMQ: spinLockCollisionRetreatOptimalDegree. */
const SPINS_BEFORE_RETREAT = 1_000;
const RETREAT_MS = 0.05;
const SPINS_BEFORE_SLEEP = 100;
/** A sleeper looks about this often whether waiting still makes sense. */
const LONGEST_SLEEP_MS = 50;
/** Whoever has not released a lock, or finished what was begun under it, for so long has ended, or hangs. */
export const STALL_LIMIT_MS = 30_000;

export class SharedLock {
  readonly #mine: number;

  /**
   * @param at index of the lock's word
   * @param holder number of the writer that locks, from 1
   * @param isHopeless whether whoever waits had better give up
   */
  constructor(
    private readonly words: Int32Array,
    private readonly at: number,
    holder: number,
    private readonly kind: LockKind,
    private readonly isHopeless: () => boolean,
  ) {
    this.#mine = holder * 2;
  }

  tryAcquire(): boolean {
    return Atomics.compareExchange(this.words, this.at, 0, this.#mine) === 0;
  }

  /** Waits for the lock. @returns false when waiting is hopeless, or the holder has kept it for half a minute */
  acquire(): boolean {
    if (Atomics.compareExchange(this.words, this.at, 0, this.#mine) === 0) return true;
    return this.kind === "spin" ? this.#spin() : this.#sleep();
  }

  release(): void {
    const before = Atomics.exchange(this.words, this.at, 0);
    if ((before & 1) === 1) Atomics.notify(this.words, this.at, 1);
  }

  /** Number of the writer that holds it, 0 if none does. */
  get holder(): number {
    return Atomics.load(this.words, this.at) >> 1;
  }

  #spin(): boolean {
    const { words, at } = this;
    const patience = new Patience();
    while (true) {
      for (let i = 0; i < SPINS_BEFORE_RETREAT; i++) {
        if (Atomics.load(words, at) === 0 && this.tryAcquire()) return true;
      }
      const value = Atomics.load(words, at);
      if (value !== 0) Atomics.wait(words, at, value, RETREAT_MS); // nobody wakes: it is the time that passes
      if (patience.isOver(value) || this.isHopeless()) return false;
    }
  }

  #sleep(): boolean {
    const { words, at } = this;
    for (let i = 0; i < SPINS_BEFORE_SLEEP; i++) {
      if (Atomics.load(words, at) === 0 && this.tryAcquire()) return true;
    }
    const patience = new Patience();
    while (true) {
      // Others may sleep as well, so whoever has slept takes the lock with the mark that makes its release wake one.
      const value = Atomics.compareExchange(words, at, 0, this.#mine + 1);
      if (value === 0) return true;
      const marked = value | 1;
      if (value === marked || Atomics.compareExchange(words, at, value, marked) === value) {
        Atomics.wait(words, at, marked, LONGEST_SLEEP_MS);
      }
      if (patience.isOver(marked) || this.isHopeless()) return false;
    }
  }
}

/** Ends when the same holder was seen, and nothing else, for STALL_LIMIT_MS. */
class Patience {
  #seen = 0;
  #sinceMs = performance.now();

  isOver(value: number): boolean {
    const nowMs = performance.now();
    if (value !== this.#seen) {
      this.#seen = value;
      this.#sinceMs = nowMs;
    }
    return nowMs - this.#sinceMs > STALL_LIMIT_MS;
  }
}
