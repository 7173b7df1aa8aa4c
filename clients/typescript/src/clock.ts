/** A moment by both clocks of this machine, in milliseconds. */
export interface Reading {
  readonly monotonic: number;
  readonly wall: number;
}

/** Time, which tests put their own in the place of. */
export interface Clock {
  now(): Reading;
  /** Calls back once after some milliseconds; the result stops it. */
  after(ms: number, call: () => void): () => void;
}

/** setTimeout counts no further, and calls back at once instead. */
const longestTimer = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => ({ monotonic: performance.now(), wall: Date.now() }),
  after(ms, call) {
    if (ms === Infinity) {
      return () => undefined;
    }
    const end = performance.now() + ms;
    let timer: NodeJS.Timeout;
    const wait = () => {
      const left = end - performance.now();
      timer = left > longestTimer ? setTimeout(wait, longestTimer) : setTimeout(call, Math.ceil(Math.max(left, 0)));
    };
    wait();
    return () => {
      clearTimeout(timer);
    };
  },
};

/**
 * How long before `now` something was. The monotonic clock cannot be set, and stands
 * still while a laptop sleeps; the other runs on, and can be set. The longer of the two
 * is never too short, unless a clock is set back in its sleep.
 */
export function age(then: Reading, now: Reading): number {
  return Math.max(now.monotonic - then.monotonic, now.wall - then.wall);
}
