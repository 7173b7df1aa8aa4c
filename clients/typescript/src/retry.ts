import { known, type JotsmithError } from "./errors.js";
import type { Scope } from "./scope.js";

const firstWaitMs = 100;
const lastWaitMs = 2000;

/** Says how long to wait, longer from time to time. */
export class Waits {
  #lastMs = 0;

  constructor(private readonly random: () => number = Math.random) {}

  /** Whether nobody has waited since the beginning or the last reset. */
  get unused(): boolean {
    return this.#lastMs === 0;
  }

  reset(): void {
    this.#lastMs = 0;
  }

  /** Passes over the wait of a first try, which is not worth one. */
  skip(): void {
    this.#lastMs = firstWaitMs / 2;
  }

  /**
   * How many milliseconds to wait after an error: at least as long as the server asked
   * for, and never the same as everybody else.
   */
  next(error: JotsmithError): number {
    this.#lastMs = Math.min(Math.max(2 * this.#lastMs, firstWaitMs), lastWaitMs);
    return Math.max(this.#lastMs, error.retryAfterMs) * (1 + this.random() / 5);
  }
}

/**
 * Calls until the call succeeds, fails with anything but UNAVAILABLE, or would have to
 * wait past the end of the scope. What is RESOURCE_EXHAUSTED is not tried again: each try
 * would add to the load, or to the quota, that is the trouble.
 */
export async function retry<T>(
  scope: Scope,
  call: (scope: Scope) => Promise<T>,
  waits: Waits = new Waits(),
): Promise<T> {
  for (;;) {
    try {
      return await call(scope);
    } catch (thrown) {
      const error = known(thrown);
      if (error.code !== "UNAVAILABLE" || !(await scope.sleep(waits.next(error)))) {
        throw error;
      }
    }
  }
}
