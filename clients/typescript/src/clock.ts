import { uptime } from "node:os";

/** Milliseconds that only go forward; no wall clock. */
export interface Clock {
  now(): number;
}

const LOOK_EVERY_MS = 1000;
const COUNTS_FROM_MS = 1000;

/**
 * Node's monotonic clock stands still while the machine sleeps; the time since its start does not. That one is asked
 * once a second, because it is a system call, and a difference of less than a second is its coarseness.
 */
class BootClock implements Clock {
  #lookedAt = Number.NEGATIVE_INFINITY;
  #between: number | undefined;
  #slept = 0;

  now(): number {
    const now = performance.now();
    if (now - this.#lookedAt > LOOK_EVERY_MS) {
      this.#lookedAt = now;
      const between = uptime() * 1000 - now;
      this.#between ??= between;
      const slept = between - this.#between;
      if (slept > this.#slept + COUNTS_FROM_MS) this.#slept = slept;
    }
    return now + this.#slept;
  }
}

/** The clock of this process. */
export const bootClock: Clock = new BootClock();
