import { inspect } from "node:util";

import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";

import type { Clock, Reading } from "./clock.js";
import type { MintTokenResponse } from "./gen/jotsmith/v1/token_service_pb.js";
import { Lifetime } from "./lifetime.js";
import { between } from "./times.js";

/**
 * A minted token. Printing it, logging it, encoding and cloning it show what it is about
 * and never the token itself, which `reveal` returns.
 */
export class Token {
  /** Names the key that signed it. */
  readonly kid: string;
  /**
   * The times are by the server's clock; to decide anything by them is what `remainingMs`
   * and `fresh` are for.
   */
  readonly issueTime: Date | undefined;
  /** Absent for a token without exp. */
  readonly expireTime: Date | undefined;
  /** Absent for a token that is for one use. */
  readonly refreshTime: Date | undefined;
  /** Names the configuration that the server decided under. */
  readonly generation: string;
  /** Whether the server had made it for an earlier request. */
  readonly reused: boolean;
  /** What VAPID's Authorization header carries as k. Most profiles leave it empty. */
  readonly publicKey: string;

  readonly #text: string;
  readonly #life: Lifetime;
  readonly #clock: Clock;

  /** @internal */
  constructor(response: MintTokenResponse, asked: Reading, clock: Clock) {
    const { answerTime: now, expireTime: expire, refreshTime: refresh } = response;
    this.kid = response.kid;
    this.issueTime = date(response.issueTime);
    this.expireTime = date(expire);
    this.refreshTime = date(refresh);
    this.generation = response.configGeneration;
    this.reused = response.reused;
    this.publicKey = response.publicKey;
    this.#text = response.token;
    // Without the server's time nobody knows how long that is: it is then kept by nobody.
    const since = (end: Timestamp | undefined) =>
      now === undefined || end === undefined ? undefined : between(now, end);
    this.#life = new Lifetime(asked, since(refresh), since(expire));
    this.#clock = clock;
  }

  /**
   * The token in its compact serialization, for the header that it goes into and for
   * nothing else.
   */
  reveal(): string {
    return this.#text;
  }

  /** Whether the token is for one use. */
  get oneTime(): boolean {
    return this.#life.refresh === undefined;
  }

  /**
   * For how many milliseconds the token is still valid, counted from when it was asked
   * for and by the server's times, so that a wrong clock here changes nothing. It is 0
   * for an expired token and for one without exp.
   */
  remainingMs(): number {
    return this.#life.remaining(this.#clock.now());
  }

  /** Whether the server's refresh time has not come. */
  fresh(): boolean {
    return this.#life.fresh(this.#clock.now(), 0);
  }

  /** Says what the token is about, without the token. */
  toString(): string {
    return `token of key ${this.kid} (redacted)`;
  }

  /** Is toString: a live token does not belong on a disk. */
  toJSON(): string {
    return this.toString();
  }

  /** Is toString, for console.log and the like. */
  [inspect.custom](): string {
    return this.toString();
  }

  /** @internal */
  static lifeOf(token: Token): Lifetime {
    return token.#life;
  }
}

function date(timestamp: Timestamp | undefined): Date | undefined {
  return timestamp === undefined ? undefined : timestampDate(timestamp);
}
