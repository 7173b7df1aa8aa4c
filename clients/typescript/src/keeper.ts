import { age, type Clock, type Reading } from "./clock.js";
import { away, closed, JotsmithError, known } from "./errors.js";
import type { MintTokenRequest, MintTokenResponse } from "./gen/jotsmith/v1/token_service_pb.js";
import type { Prepared } from "./request.js";
import { Scope } from "./scope.js";
import { Token } from "./token.js";

/** How long whoever could have the old token waits for the new one. */
const patienceMs = 1000;

/**
 * How long the server is left alone, at least, after it could not renew a token that
 * still serves.
 */
const pauseMs = 1000;

/**
 * The age from which a token is made anew because its consumer refused it. A younger one
 * was not refused for its age.
 */
const youngestMs = 15_000;

/** Asks the server for a token, with all tries that fit into a scope. */
export type Ask = (scope: Scope, request: MintTokenRequest) => Promise<MintTokenResponse>;

/** What is known of one place. */
class Entry {
  token: Token | undefined;
  /** Whether its tokens are for one use, as far as is known. */
  oneTime = false;
  /** The calls under way, by the minRemainingMs that they ask for. */
  readonly flights = new Map<number, Flight>();
  /** When the server could not renew the token, and how long it is left alone then. */
  failed: Reading | undefined;
  pauseMs = 0;

  constructor(
    readonly profile: string,
    readonly place: string,
  ) {}
}

/** One call that several wait for. It never rejects, for there may be nobody left. */
interface Flight {
  readonly outcome: Promise<Token | JotsmithError>;
  /** A token that is for one use has its user. */
  taken: boolean;
}

/** Keeps tokens. */
export class Keeper {
  /** By place, the one that was not asked for the longest first. */
  readonly #entries = new Map<string, Entry>();
  readonly #underWay = new Set<Scope>();
  #closed = false;

  constructor(
    private readonly ask: Ask,
    private readonly timeoutMs: number,
    private readonly most: number,
    private readonly clock: Clock,
  ) {}

  /** How many places there are. */
  get size(): number {
    return this.#entries.size;
  }

  /** A kept token or a new one. */
  async token(request: Prepared, scope: Scope): Promise<Token> {
    if (this.#closed) {
      throw closed();
    }
    if (scope.error !== undefined) {
      throw scope.error;
    }
    const now = this.clock.now();
    const entry = this.entry(request);
    const old = entry.token;
    const least = request.minRemainingMs;
    const spare = old !== undefined && Token.lifeOf(old).usable(now, least);
    if (old !== undefined && Token.lifeOf(old).fresh(now, least)) {
      return old;
    }
    if (spare && entry.failed !== undefined && age(entry.failed, now) < entry.pauseMs) {
      return old;
    }
    if (entry.oneTime) {
      return this.alone(request, entry, scope);
    }
    const flight = entry.flights.get(least) ?? this.start(request, entry);
    return this.await(request, entry, flight, spare ? old : undefined, scope);
  }

  /**
   * Waits for a flight. The old token, where there is one, is what the caller gets while
   * the server is away. Of a token that is for one use, all but one of those who waited
   * ask alone.
   */
  private async await(
    request: Prepared,
    entry: Entry,
    flight: Flight,
    old: Token | undefined,
    scope: Scope,
  ): Promise<Token> {
    const found = old === undefined ? await scope.wait(flight.outcome) : await this.soon(flight.outcome, old, scope);
    if (found instanceof JotsmithError) {
      if (old !== undefined && away(found) && Token.lifeOf(old).usable(this.clock.now(), request.minRemainingMs)) {
        return old;
      }
      throw found;
    }
    if (found === old || !found.oneTime) {
      return found;
    }
    if (!flight.taken) {
      flight.taken = true;
      return found;
    }
    return this.alone(request, entry, scope);
  }

  /** What a flight brings, or the old token where that takes too long. */
  private async soon(outcome: Flight["outcome"], old: Token, scope: Scope): Promise<Token | JotsmithError> {
    let stop: () => void = () => undefined;
    const enough = new Promise<Token>((resolve) => {
      stop = this.clock.after(Math.min(patienceMs, scope.leftMs() / 2), () => {
        resolve(old);
      });
    });
    try {
      return await scope.wait(Promise.race([outcome, enough]));
    } finally {
      stop();
    }
  }

  /** Starts a flight. It goes on without whoever came first. */
  private start(request: Prepared, entry: Entry): Flight {
    const { minRemainingMs } = request;
    const outcome = this.once(request, new Scope(this.clock, { timeoutMs: this.timeoutMs })).then((found) => {
      entry.flights.delete(minRemainingMs);
      this.keep(entry, found);
      return found;
    });
    const flight = { outcome, taken: false };
    entry.flights.set(minRemainingMs, flight);
    return flight;
  }

  /** Asks for a token that nobody else gets. */
  private async alone(request: Prepared, entry: Entry, scope: Scope): Promise<Token> {
    const found = await this.once(request, scope.within(this.timeoutMs));
    if (found instanceof JotsmithError) {
      throw found;
    }
    this.keep(entry, found);
    return found;
  }

  /** Makes one call, and closes its scope. */
  private async once({ message }: Prepared, scope: Scope): Promise<Token | JotsmithError> {
    this.#underWay.add(scope);
    try {
      const asked = this.clock.now();
      const response = await scope.wait(this.ask(scope, message));
      return new Token(response, asked, this.clock);
    } catch (error) {
      return known(error);
    } finally {
      this.#underWay.delete(scope);
      scope.close();
    }
  }

  /**
   * Takes up what the server answered. A refusal is as good as an answer: the token
   * before it is not handed out any more.
   */
  private keep(entry: Entry, found: Token | JotsmithError): void {
    if (found instanceof Token) {
      entry.oneTime = found.oneTime;
      entry.token = found.oneTime ? undefined : found;
      entry.failed = undefined;
      return;
    }
    if (away(found)) {
      entry.failed = this.clock.now();
      entry.pauseMs = Math.max(found.retryAfterMs, pauseMs);
    } else if (found.code !== "INVALID_ARGUMENT" && found.code !== "CANCELLED") {
      // the request was wrong, or nobody asked any more
      entry.token = undefined;
    }
    if (entry.token === undefined && entry.flights.size === 0) {
      this.drop(entry);
    }
  }

  /**
   * The request's entry, new where there is none. It lets go of the one that was not
   * asked for the longest where there are too many.
   */
  private entry(request: Prepared): Entry {
    const { profile, place } = request;
    const known = this.#entries.get(place);
    if (known === undefined && this.#entries.size >= this.most) {
      const [oldest] = this.#entries.keys();
      this.#entries.delete(oldest ?? "");
    }
    const entry = known ?? new Entry(profile, place);
    this.#entries.delete(place);
    this.#entries.set(place, entry);
    return entry;
  }

  /** Forgets a place. Its flights find their way to those who wait, and nobody else. */
  private drop(entry: Entry): void {
    if (this.#entries.get(entry.place) === entry) {
      this.#entries.delete(entry.place);
    }
  }

  /** Forgets the places of a profile. */
  invalidate(profile: string): void {
    for (const entry of [...this.#entries.values()]) {
      if (entry.profile === profile) {
        this.drop(entry);
      }
    }
  }

  /**
   * Another token than one that its consumer has refused, or undefined where there is
   * none. The server makes a new one instead of the same only where its profile lets
   * callers ask for a longer life.
   */
  async renew(request: Prepared, refused: Token, scope: Scope): Promise<Token | undefined> {
    if (refused.oneTime) {
      return undefined;
    }
    // Another's renewal may have come between, or be under way and is joined.
    const entry = this.#entries.get(request.place);
    if (entry?.token?.reveal() === refused.reveal()) {
      this.drop(entry);
    }
    try {
      const token = await this.renewed(request, refused, scope);
      return token.reveal() === refused.reveal() ? undefined : token;
    } catch {
      return undefined; // the consumer's refusal says more
    }
  }

  private async renewed(request: Prepared, refused: Token, scope: Scope): Promise<Token> {
    const { asked, expire } = Token.lifeOf(refused);
    const now = this.clock.now();
    if (expire !== undefined && age(asked, now) >= youngestMs) {
      const left = Math.trunc(refused.remainingMs() / 1000) * 1000;
      try {
        return await this.token(request.lasting(Math.max(request.minRemainingMs, left + 5000)), scope);
      } catch (error) {
        if (!(error instanceof JotsmithError) || error.code !== "INVALID_ARGUMENT") {
          throw error;
        }
      }
    }
    return this.token(request, scope);
  }

  /** Ends the calls under way; their callers get the error of a closed Client. */
  close(): void {
    this.#closed = true;
    for (const scope of this.#underWay) {
      scope.end(closed());
    }
  }
}
