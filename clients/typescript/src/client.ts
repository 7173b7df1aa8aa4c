import { createPublicKey, type KeyObject } from "node:crypto";

import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { ChannelCredentials } from "@grpc/grpc-js";

import { systemClock } from "./clock.js";
import { Connection } from "./connection.js";
import { closed, fromStatus, plain, type JotsmithError } from "./errors.js";
import { authorizing } from "./fetch.js";
import { KeyService } from "./gen/jotsmith/v1/key_service_pb.js";
import { TokenService } from "./gen/jotsmith/v1/token_service_pb.js";
import { carrying } from "./grpc.js";
import { Keeper } from "./keeper.js";
import { Prepared, type RequestOptions, type TokenOptions, type TokenRequest } from "./request.js";
import { retry } from "./retry.js";
import { Scope, type CallOptions } from "./scope.js";
import { resolve, type Resolved, type Settings } from "./settings.js";
import { milliseconds } from "./times.js";
import { Token } from "./token.js";
import { Watch } from "./watch.js";

/** The outcome of one request of a batch. */
export type Result =
  { readonly token: Token; readonly error?: undefined } | { readonly token?: undefined; readonly error: JotsmithError };

/** What a token would be, or why there would be none. */
export interface Explanation {
  /** The name of the grant that lets the caller have it. */
  readonly grant: string;
  /** All reasons why `token` would fail. None where it would not. */
  readonly refusals: readonly JotsmithError[];
  /** A JSON object, as text. */
  readonly header: string;
  /** A JSON object, as text; random values are examples. */
  readonly claims: string;
  readonly decisions: readonly Decision[];
  /** For how many milliseconds it would be valid; undefined where it would not expire. */
  readonly ttlMs: number | undefined;
  /** The profile's limits, in words. */
  readonly limits: readonly string[];
  readonly generation: string;
}

/** Where one header parameter or claim comes from. */
export interface Decision {
  readonly name: string;
  readonly rule: string;
  readonly doc: string;
  readonly present: boolean;
}

/** The public half of a key that signs tokens. */
export interface Key {
  readonly kid: string;
  readonly algorithm: string;
  readonly publicKey: KeyObject;
  /** A JSON Web Key, as text. */
  readonly jwk: string;
  /** Those that the caller may mint. */
  readonly profiles: readonly string[];
}

/**
 * Gets tokens from a server. A program needs one for each server, which all of it can
 * use at once. Close it when done.
 */
export class Client {
  readonly #connection: Connection;
  readonly #keeper: Keeper;
  readonly #timeoutMs: number;
  /** What is under way and is not the keeper's. */
  readonly #underWay = new Set<{ close(): void }>();
  #closed = false;

  /** @internal */
  constructor({ transport, bearer, timeoutMs, maxKept }: Resolved) {
    const connection = new Connection(transport, bearer, systemClock);
    this.#connection = connection;
    this.#timeoutMs = timeoutMs;
    this.#keeper = new Keeper(
      (scope, request) => retry(scope, (within) => connection.unary(within, TokenService.method.mintToken, request)),
      timeoutMs,
      maxKept,
      systemClock,
    );
  }

  /**
   * A token of a profile: the one that is kept, until its refresh time, or a new one. The
   * server is asked once however many ask for it. While it is away the old one is
   * returned as long as that has its margin, half of the time between its refresh and its
   * end. A token that is for one use is never kept, and no two callers get the same. It
   * fails with a JotsmithError.
   */
  async token(profile: string, options: TokenOptions = {}): Promise<Token> {
    const scope = new Scope(systemClock, options);
    try {
      return await this.#keeper.token(new Prepared({ ...options, profile }), scope);
    } finally {
      scope.close();
    }
  }

  /**
   * Forgets the tokens of a profile. The next `token` asks the server, which may answer
   * with the same one.
   */
  invalidate(profile: string): void {
    this.#keeper.invalidate(profile);
  }

  /**
   * Asks for up to 256 tokens at once and returns a Result for each request, in their
   * order. Nothing of it is kept. It fails with a JotsmithError where the call as a whole
   * fails.
   */
  async batch(requests: readonly TokenRequest[], options: CallOptions = {}): Promise<Result[]> {
    const messages = requests.map((request) => new Prepared(request).message);
    let asked = systemClock.now();
    const { results } = await this.#call(options, (scope) => {
      asked = systemClock.now();
      return this.#connection.unary(scope, TokenService.method.batchMintTokens, { requests: messages });
    });
    if (results.length !== requests.length) {
      throw plain("INTERNAL", `${results.length} results for ${requests.length} requests`);
    }
    return results.map(({ outcome }) => {
      switch (outcome.case) {
        case "token":
          return { token: new Token(outcome.value, asked, systemClock) };
        case "error":
          return { error: fromStatus(outcome.value) };
        default:
          return { error: plain("INTERNAL", "the server sent neither a token nor an error") };
      }
    });
  }

  /**
   * A token at once, and each that replaces it. Where the server stops or the connection
   * ends, it goes on with another at once, and then with longer and longer waits. It
   * fails with a JotsmithError when the server refuses, when no first token comes within
   * the Client's timeout, or when the server stays away until the last token has passed
   * its margin. When the caller breaks off, or his signal or timeoutMs ends it, it ends
   * without an error. Each iteration is a watch of its own.
   */
  watch(profile: string, options: TokenOptions = {}): AsyncIterable<Token> {
    return { [Symbol.asyncIterator]: () => this.#watch(profile, options) };
  }

  #watch(profile: string, options: TokenOptions): AsyncIterator<Token, void, undefined> {
    let watch: Watch | undefined;
    const tokens = async function* (this: Client): AsyncGenerator<Token, void, undefined> {
      if (this.#closed) {
        throw closed();
      }
      watch = new Watch(this.#connection, new Prepared({ ...options, profile }), options, this.#timeoutMs, systemClock);
      this.#underWay.add(watch);
      try {
        yield* watch.tokens();
      } finally {
        this.#underWay.delete(watch);
      }
    }.call(this);
    return {
      next: () => tokens.next(),
      // A generator would wait for the next token first.
      return: async () => {
        watch?.stop();
        return tokens.return();
      },
    };
  }

  /** What `token` would get from the server. Nothing is signed or kept. */
  async explain(profile: string, options: TokenOptions = {}): Promise<Explanation> {
    const { message } = new Prepared({ ...options, profile });
    const answer = await this.call(TokenService.method.explainToken, { request: message }, options);
    return {
      grant: answer.grant,
      refusals: answer.refusals.map(fromStatus),
      header: answer.header,
      claims: answer.claims,
      decisions: answer.decisions.map(({ name, rule, doc, present }) => ({ name, rule, doc, present })),
      ttlMs: answer.ttl === undefined ? undefined : milliseconds(answer.ttl),
      limits: answer.limits,
      generation: answer.configGeneration,
    };
  }

  /** The keys of the profiles that the caller may mint, or of one profile alone. */
  async keys(profile = "", options: CallOptions = {}): Promise<Key[]> {
    const { keys } = await this.call(KeyService.method.listKeys, { profile }, options);
    return keys.map(({ kid, algorithm, spki, jwk, profiles }) => ({
      kid,
      algorithm,
      publicKey: publicKey(kid, spki),
      jwk,
      profiles,
    }));
  }

  /**
   * Makes a call that has no method here, one of a service in `@jotsmith/client/proto`. It
   * fails with a JotsmithError.
   */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    return this.#call(options, (scope) => this.#connection.unary(scope, method, request));
  }

  /**
   * A `fetch` that puts a token into the Authorization of each request, and passes it on
   * to another, the global one where none is given.
   *
   * Where the answer is 401 it asks for another token and repeats the request once, if
   * the server has another, the body can be sent again (it is no stream, nor a Request's)
   * and the profile's tokens are not for one use. A redirect to another scheme, host or
   * port gets no token. It fails with a JotsmithError where there is no token.
   */
  fetch(profile: string, options: RequestOptions = {}, base: typeof fetch = globalThis.fetch): typeof fetch {
    return authorizing(this.#keeper, { ...options, profile }, base);
  }

  /**
   * Channel credentials for another gRPC service, with a token in the `authorization` of
   * each call. They are those of TLS, or others that are given, and never insecure.
   */
  channelCredentials(profile: string, options: RequestOptions = {}, base?: ChannelCredentials): ChannelCredentials {
    return carrying(() => this.token(profile, options), base);
  }

  /** Ends what is under way and the connection. */
  close(): void {
    this.#closed = true;
    this.#keeper.close();
    for (const call of this.#underWay) {
      call.close();
    }
    this.#connection.close();
  }

  /** Makes one call within the timeout, again while the server is UNAVAILABLE. */
  async #call<T>(options: CallOptions, once: (scope: Scope) => Promise<T>): Promise<T> {
    if (this.#closed) {
      throw closed();
    }
    const given = new Scope(systemClock, options);
    const scope = given.within(this.#timeoutMs);
    const call = {
      close: () => {
        scope.end(closed());
      },
    };
    this.#underWay.add(call);
    try {
      return await scope.wait(retry(scope, once));
    } finally {
      this.#underWay.delete(call);
      scope.close();
      given.close();
    }
  }
}

/**
 * Returns a Client of the server at an address, `unix:///PATH` or `HOST:PORT`; without
 * one, what JOTSMITH_ADDRESS says, or defaultAddress. A Unix socket is plaintext, and the
 * kernel says who calls; TCP is TLS 1.3, but where plaintextLoopback says otherwise.
 * Nobody is called yet: the first call makes the connection, and every later one mends
 * it. What is wrong with the settings and files is a SettingError.
 */
export function connect(address?: string, settings: Settings = {}): Client {
  return new Client(resolve(address, settings, process.env));
}

function publicKey(kid: string, spki: Uint8Array): KeyObject {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    if (key.asymmetricKeyType === "ec") {
      return key;
    }
  } catch {
    // said below
  }
  throw plain("INTERNAL", `the server's key ${kid} is no ECDSA key`);
}
