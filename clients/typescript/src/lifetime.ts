import { age, type Reading } from "./clock.js";

/**
 * How long a token lasts, in milliseconds of the server's since it was asked for, which
 * was before the server answered.
 */
export class Lifetime {
  constructor(
    readonly asked: Reading,
    /** Until a new one is due; absent for a token that nobody may keep. */
    readonly refresh?: number,
    /** Until its end; absent for a token that has none. */
    readonly expire?: number,
  ) {}

  /** Whether the token is the one to have, with `atLeast` of its life left. */
  fresh(now: Reading, atLeast: number): boolean {
    return this.refresh !== undefined && age(this.asked, now) < this.refresh && this.lasts(now, atLeast);
  }

  /**
   * How long a token may be used that the server should have replaced but cannot: to the
   * middle of the time between its refresh and its end, so that as a rule a sixth of its
   * life is left. Of a token without end nobody knows how long its consumer takes it, so
   * it has none.
   */
  margin(): number {
    const refresh = this.refresh ?? 0;
    if (this.refresh === undefined || this.expire === undefined) {
      return refresh;
    }
    return refresh + Math.max(this.expire - refresh, 0) / 2;
  }

  /** Whether the token may stand in while the server is away. */
  usable(now: Reading, atLeast: number): boolean {
    return this.refresh !== undefined && age(this.asked, now) < this.margin() && this.lasts(now, atLeast);
  }

  /** What is left of its life; 0 of one that has expired or has no end. */
  remaining(now: Reading): number {
    return this.expire === undefined ? 0 : Math.max(this.expire - age(this.asked, now), 0);
  }

  /** Whether `atLeast` of its life is left; 0 asks for nothing. */
  private lasts(now: Reading, atLeast: number): boolean {
    return atLeast <= 0 || (this.expire !== undefined && this.expire - age(this.asked, now) >= atLeast);
  }
}
