import { create } from "@bufbuild/protobuf";

import { canonical } from "./canonical.js";
import { refused } from "./errors.js";
import { MintTokenRequestSchema, type MintTokenRequest } from "./gen/jotsmith/v1/token_service_pb.js";
import { encode } from "./json.js";
import type { CallOptions } from "./scope.js";
import { duration } from "./times.js";

/** What a token is asked for with, beside its profile. */
export interface RequestOptions {
  /**
   * The claims that the profile takes from its callers: JSON text as a string or bytes,
   * which is sent as it is, or an object. Whole numbers of any size are exact as bigint.
   * Members that are undefined are left out.
   */
  readonly claims?: string | Uint8Array | Readonly<Record<string, unknown>> | undefined;
  /**
   * For how many milliseconds the token is to be valid, in whole seconds; the profile's
   * default where it is not set.
   */
  readonly ttlMs?: number | undefined;
  /**
   * For how many milliseconds the token must still be valid, at least, when it is handed
   * out; a third of its life where it is not set.
   */
  readonly minRemainingMs?: number | undefined;
}

/** A request of a batch. */
export interface TokenRequest extends RequestOptions {
  /** The name of a profile of the server's. */
  readonly profile: string;
}

/** The options of a token. */
export interface TokenOptions extends RequestOptions, CallOptions {}

/** A request as it is sent, and where its token is kept. */
export class Prepared {
  readonly message: MintTokenRequest;
  readonly minRemainingMs: number;
  #place: string | undefined;

  /** Fails with the error of a request that cannot be sent. */
  constructor(private readonly request: TokenRequest) {
    const { profile, claims, ttlMs, minRemainingMs } = request;
    if (!profile.isWellFormed()) {
      throw refused("profile", "is not valid UTF-8");
    }
    this.message = create(MintTokenRequestSchema, { profile, claims: claimsText(claims) });
    const ttl = duration("ttl", ttlMs);
    if (ttl !== undefined) {
      this.message.ttl = ttl;
    }
    const least = duration("min_remaining", minRemainingMs);
    if (least !== undefined) {
      this.message.minRemaining = least;
    }
    this.minRemainingMs = minRemainingMs ?? 0;
  }

  get profile(): string {
    return this.request.profile;
  }

  /** The same for requests that can have the same token. */
  get place(): string {
    this.#place ??= JSON.stringify([this.profile, canonical(this.message.claims), this.request.ttlMs ?? 0]);
    return this.#place;
  }

  /** The same request with another minRemainingMs. */
  lasting(minRemainingMs: number): Prepared {
    return new Prepared({ ...this.request, claims: this.message.claims, minRemainingMs });
  }
}

function claimsText(claims: RequestOptions["claims"]): string {
  if (claims === undefined) {
    return "";
  }
  if (ArrayBuffer.isView(claims)) {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(claims);
    } catch {
      throw refused("claims", "is not valid UTF-8");
    }
  }
  const text = typeof claims === "string" ? claims : encode(claims);
  if (!text.isWellFormed()) {
    throw refused("claims", "is not valid UTF-8");
  }
  return text;
}
