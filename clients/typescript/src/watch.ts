import { age, type Clock } from "./clock.js";
import type { Connection } from "./connection.js";
import { cancelled, closed, expired, known, plain, type JotsmithError } from "./errors.js";
import { TokenService } from "./gen/jotsmith/v1/token_service_pb.js";
import type { Prepared } from "./request.js";
import { Waits } from "./retry.js";
import { Scope, type CallOptions } from "./scope.js";
import { Token } from "./token.js";

/**
 * How long a stream has been quiet, at least, where its end says nothing about how the
 * server is.
 */
const livedMs = 10_000;

/** One watch of a profile, over as many streams as it takes. */
export class Watch {
  readonly #scope: Scope;
  readonly #waits = new Waits();
  #last: Token | undefined;
  /** When a token must have come, by the monotonic clock. */
  #until: number;
  /** Whether a message came in the stream that ended. */
  #came = false;
  #closed = false;

  constructor(
    private readonly connection: Connection,
    private readonly request: Prepared,
    options: CallOptions,
    private readonly timeoutMs: number,
    private readonly clock: Clock,
  ) {
    this.#scope = new Scope(clock, options);
    this.#until = clock.now().monotonic + timeoutMs;
  }

  /** Ends it with the error of a closed Client. */
  close(): void {
    this.#closed = true;
    this.#scope.end(closed());
  }

  /** Ends it without an error. */
  stop(): void {
    this.#scope.end(cancelled());
  }

  /**
   * Yields each token that replaces the one before, until the caller has given it up.
   * It fails with the error of a watch that cannot go on.
   */
  async *tokens(): AsyncGenerator<Token, void, undefined> {
    try {
      for (;;) {
        const error = yield* this.once();
        if (this.#over()) {
          return;
        }
        await this.goOn(error);
      }
    } catch (error) {
      if (!this.#over()) {
        throw error;
      }
    } finally {
      this.#scope.close();
    }
  }

  /** Whether the caller has given it up. */
  #over(): boolean {
    return !this.#closed && (this.#scope.error !== undefined || this.#scope.late);
  }

  /** Runs one stream until it ends, and returns the error that it ended with. */
  private async *once(): AsyncGenerator<Token, JotsmithError, undefined> {
    // The stream itself has no deadline but the caller's; what it must bring has.
    const stream = this.#scope.within(Infinity);
    let asked = this.clock.now();
    const stop = this.clock.after(this.#until - asked.monotonic, () => {
      stream.end(expired());
    });
    this.#came = false;
    try {
      for await (const { message, at } of this.connection.stream(stream, TokenService.method.watchToken, {
        request: this.request.message,
      })) {
        if (this.#came) {
          // it came when it was made, and its life counts from about now
          asked = at;
        }
        this.#came = true;
        stop(); // the server says itself when an open stream has no more to bring
        if (message.token === undefined) {
          return plain("INTERNAL", "the server sent no token");
        }
        const token = new Token(message.token, asked, this.clock);
        const life = Token.lifeOf(token);
        const now = this.clock.now();
        this.#until = now.monotonic + Math.max(life.margin() - age(life.asked, now), this.timeoutMs);
        const same = token.reveal() === this.#last?.reveal();
        this.#last = token;
        if (!same) {
          // a new stream begins with the token that the old one ended with
          yield token;
        }
      }
      // A server ends a watch with a reason, and this one was cut short.
      return plain("UNAVAILABLE", "the server ended the watch");
    } catch (error) {
      return known(error);
    } finally {
      stop();
      stream.end(expired());
      stream.close();
      if (age(asked, this.clock.now()) >= livedMs) {
        // of the newest message, or of the call
        this.#waits.reset();
      }
    }
  }

  /** Waits until the next stream may begin, or fails with the error that ends the watch. */
  private async goOn(error: JotsmithError): Promise<void> {
    if (error.code !== "UNAVAILABLE" && error.code !== "RESOURCE_EXHAUSTED") {
      throw error;
    }
    // The server that stops, or that closes a connection because it is old, had served
    // until then: another one, or the same, is asked at once, but not over and over.
    if (
      this.#came &&
      this.#waits.unused &&
      error.code === "UNAVAILABLE" &&
      (error.reason === "" || error.reason === "DRAINING")
    ) {
      this.#waits.skip();
      return;
    }
    const waiting = this.#scope.within(this.#until - this.clock.now().monotonic);
    try {
      if (!(await waiting.sleep(this.#waits.next(error)))) {
        throw error;
      }
    } finally {
      waiting.close();
    }
  }
}
