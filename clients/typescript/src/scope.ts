import { defaultMaxListeners, getMaxListeners, setMaxListeners } from "node:events";

import type { Clock } from "./clock.js";
import { cancelled, expired, JotsmithError } from "./errors.js";

/** How long a call may take and who may give it up. */
export interface CallOptions {
  /** Gives the call up. One of AbortSignal.timeout counts as a deadline. */
  readonly signal?: AbortSignal | undefined;
  /** The caller's own deadline, in milliseconds from now on. */
  readonly timeoutMs?: number | undefined;
}

/** By how much a server may see a deadline pass before it is seen here. */
const littleMs = 100;

/**
 * The time of one call: it ends with an error when its deadline has passed or its caller
 * gives it up. Whoever makes one closes it.
 */
export class Scope {
  readonly #clock: Clock;
  readonly #end: number;
  readonly #controller = new AbortController();
  readonly #stops: (() => void)[] = [];

  constructor(clock: Clock, { signal, timeoutMs = Infinity }: CallOptions = {}) {
    this.#clock = clock;
    this.#end = clock.now().monotonic + timeoutMs;
    if (signal?.aborted === true) {
      this.end(reasonOf(signal));
    } else if (!(timeoutMs > 0)) {
      this.end(expired());
    } else {
      this.#stops.push(
        clock.after(timeoutMs, () => {
          this.end(expired());
        }),
      );
      if (signal !== undefined) {
        manyMayListen(signal);
        const given = () => {
          this.end(reasonOf(signal));
        };
        signal.addEventListener("abort", given, { once: true });
        this.#stops.push(() => {
          signal.removeEventListener("abort", given);
        });
      }
    }
  }

  /** A scope that ends with this one, or after some milliseconds. */
  within(timeoutMs: number): Scope {
    return new Scope(this.#clock, { signal: this.signal, timeoutMs: Math.min(timeoutMs, this.leftMs()) });
  }

  /** Aborted at the end, with the error as its reason. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The error of the end; undefined before it. */
  get error(): JotsmithError | undefined {
    return this.signal.aborted ? reasonOf(this.signal) : undefined;
  }

  /** How many milliseconds are left; Infinity without a deadline. */
  leftMs(): number {
    return this.#end - this.#clock.now().monotonic;
  }

  /**
   * Whether the deadline has passed, or is so near that a server, which has heard of it,
   * may have seen it pass.
   */
  get late(): boolean {
    return this.leftMs() < littleMs;
  }

  /** Ends it with an error, if it has not ended yet. */
  end(error: JotsmithError): void {
    this.#controller.abort(error);
  }

  /** Lets go of the timer and of the caller's signal. It does not end the scope. */
  close(): void {
    for (const stop of this.#stops.splice(0)) {
      stop();
    }
  }

  /** What a promise brings, or the error of the end where that comes before. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this;
    let stop: () => void = () => undefined;
    const ended = new Promise<never>((_, reject) => {
      const abort = () => {
        reject(reasonOf(signal));
      };
      if (signal.aborted) {
        abort();
        return;
      }
      signal.addEventListener("abort", abort, { once: true });
      stop = () => {
        signal.removeEventListener("abort", abort);
      };
    });
    try {
      return await Promise.race([promise, ended]);
    } finally {
      stop();
    }
  }

  /**
   * Waits some milliseconds. It returns false at once where the deadline would pass
   * before, and fails with the error of the end.
   */
  async sleep(ms: number): Promise<boolean> {
    if (this.leftMs() <= ms) {
      return false;
    }
    let stop: () => void = () => undefined;
    const passed = new Promise<void>((resolve) => {
      stop = this.#clock.after(ms, resolve);
    });
    try {
      await this.wait(passed);
      return true;
    } finally {
      stop();
    }
  }
}

/** Keeps Node.js from taking many calls with one signal for a leak; each lets go of it. */
function manyMayListen(signal: AbortSignal): void {
  if (getMaxListeners(signal) === defaultMaxListeners) {
    setMaxListeners(Infinity, signal);
  }
}

/** The error of a signal, whatever its reason is. */
function reasonOf(signal: AbortSignal): JotsmithError {
  const reason: unknown = signal.reason;
  if (reason instanceof JotsmithError) {
    return reason;
  }
  return reason instanceof Error && reason.name === "TimeoutError" ? expired() : cancelled(reason);
}
