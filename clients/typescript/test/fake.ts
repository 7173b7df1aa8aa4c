import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import type { Clock, Reading } from "../src/clock.js";
import { JotsmithError, type Code } from "../src/errors.js";
import {
  MintTokenResponseSchema,
  type MintTokenRequest,
  type MintTokenResponse,
} from "../src/gen/jotsmith/v1/token_service_pb.js";
import { Keeper } from "../src/keeper.js";
import { Prepared, type TokenRequest } from "../src/request.js";
import { Scope, type CallOptions } from "../src/scope.js";
import { milliseconds } from "../src/times.js";
import type { Token } from "../src/token.js";

/** Lets everything run that does not wait for time. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Time that is a test's. */
export class FakeClock implements Clock {
  #ms = 1_000_000;
  /** By how much the wall clock is ahead. */
  wallAhead = 1.7e12;
  readonly #timers = new Set<{ at: number; call: () => void }>();

  now(): Reading {
    return { monotonic: this.#ms, wall: this.#ms + this.wallAhead };
  }

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.#ms + ms, call };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** How many timers have been left behind. */
  get waiting(): number {
    return this.#timers.size;
  }

  /** Lets time pass, timer by timer. */
  async pass(ms: number): Promise<void> {
    const end = this.#ms + ms;
    await settle();
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) {
        break;
      }
      this.#ms = Math.max(this.#ms, next.at);
      this.#timers.delete(next);
      next.call();
      await settle();
    }
    this.#ms = end;
  }

  /** Lets time pass until a promise is settled, and returns how much that was. */
  async until(promise: Promise<unknown>): Promise<number> {
    const start = this.#ms;
    const state = { done: false };
    const end = () => {
      state.done = true;
    };
    promise.then(end, end);
    await settle();
    while (!state.done) {
      const next = Math.min(...[...this.#timers].map(({ at }) => at));
      if (next === Infinity) {
        throw new Error("nothing will ever happen");
      }
      await this.pass(next - this.#ms);
    }
    return this.#ms - start;
  }
}

export function failure(code: Code, reason: string, retryAfterMs = 0): JotsmithError {
  return new JotsmithError({ code, reason, message: "told", retryAfterMs, violations: [] });
}

/** A server whose tokens live ten minutes and whose clock is off. */
export class Scripted {
  readonly clock = new FakeClock();
  readonly keeper: Keeper;
  calls = 0;
  skewMs = 0;
  oneTime = false;
  endless = false;
  takesMs = 0;
  /** It answers with the same token each time. */
  same = false;
  fail: JotsmithError | undefined;
  last: MintTokenRequest | undefined;

  constructor(most = 8) {
    this.keeper = new Keeper((scope, request) => this.ask(scope, request), 10_000, most, this.clock);
  }

  private async ask(scope: Scope, request: MintTokenRequest): Promise<MintTokenResponse> {
    const n = this.same ? 1 : ++this.calls;
    if (this.takesMs > 0) {
      await scope.wait(new Promise<void>((resolve) => this.clock.after(this.takesMs, resolve)));
    }
    this.last = request;
    if (this.fail !== undefined) {
      throw this.fail;
    }
    const now = this.clock.now().wall + this.skewMs;
    const response = create(MintTokenResponseSchema, {
      token: `token-${n}`,
      kid: "kid",
      answerTime: timestampFromMs(now),
    });
    if (!this.endless) {
      response.expireTime = timestampFromMs(now + 600_000);
    }
    if (!this.oneTime) {
      response.refreshTime = timestampFromMs(now + 400_000);
    }
    return response;
  }

  /** Asks for a token; the promise's failure is the test's to look at. */
  token(request: TokenRequest = { profile: "p" }, call: CallOptions = {}): Promise<Token> {
    const scope = new Scope(this.clock, call);
    return this.keeper.token(new Prepared(request), scope).finally(() => {
      scope.close();
    });
  }

  /** The min_remaining that the server was asked for last. */
  leastMs(): number | undefined {
    const least = this.last?.minRemaining;
    return least === undefined ? undefined : milliseconds(least);
  }

  /** The text of a token. */
  async text(request?: TokenRequest): Promise<string> {
    return (await this.token(request)).reveal();
  }
}

/** The error that a promise fails with. */
export async function errorOf(promise: Promise<unknown>): Promise<JotsmithError> {
  const got = await promise.catch((error: unknown) => error);
  if (!(got instanceof JotsmithError)) {
    throw new Error(`no JotsmithError: ${String(got)}`);
  }
  return got;
}
