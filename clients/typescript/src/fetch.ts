import type { Keeper } from "./keeper.js";
import { Prepared, type TokenRequest } from "./request.js";
import { Scope } from "./scope.js";
import { systemClock } from "./clock.js";
import type { Token } from "./token.js";

/** How many redirects are followed, as by the platform's fetch. */
const mostRedirects = 20;

/** What a redirect elsewhere must not take along, beside the token. */
const secrets = ["authorization", "proxy-authorization", "cookie", "host"];

/** What describes a body that a redirect has dropped. */
const ofBody = ["content-encoding", "content-language", "content-location", "content-type", "content-length"];

/** One request of a program's, on its way over redirects. */
interface Sent {
  readonly url: URL;
  readonly init: RequestInit;
  readonly headers: Headers;
}

/** A fetch whose requests have a token of a keeper's. */
export function authorizing(keeper: Keeper, request: TokenRequest, base: typeof fetch): typeof fetch {
  const authorized = new Authorized(keeper, request, base);
  return (input, init) => authorized.fetch(input, init);
}

class Authorized {
  constructor(
    private readonly keeper: Keeper,
    private readonly request: TokenRequest,
    private readonly base: typeof fetch,
  ) {}

  async fetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const given = input instanceof Request ? asInit(input, init) : init;
    const signal = given.signal ?? undefined;
    const scope = new Scope(systemClock, { signal });
    const first: Sent = {
      url: new URL(input instanceof Request ? input.url : input),
      init: given,
      headers: new Headers(given.headers),
    };
    try {
      return await this.follow(first, scope);
    } finally {
      scope.close();
    }
  }

  /** Sends a request, and what its redirects ask for. */
  private async follow(first: Sent, scope: Scope): Promise<Response> {
    let sent = first;
    for (let redirects = 0; ; redirects++) {
      const response = sent.url.origin === first.url.origin ? await this.send(sent, scope) : await this.pass(sent);
      const next =
        first.init.redirect === undefined || first.init.redirect === "follow" ? redirected(sent, response) : undefined;
      if (next === undefined) {
        return redirects === 0 ? response : Object.defineProperty(response, "redirected", { value: true });
      }
      await response.body?.cancel();
      if (redirects === mostRedirects) {
        throw new TypeError("too many redirects");
      }
      sent = next;
    }
  }

  /** Sends a request with a token, and once more with another where that is refused. */
  private async send(sent: Sent, scope: Scope): Promise<Response> {
    const request = new Prepared(this.request);
    let token: Token;
    try {
      token = await this.keeper.token(request, scope);
    } catch (error) {
      if (sent.init.body instanceof ReadableStream) {
        await sent.init.body.cancel(error);
      }
      throw error;
    }
    const response = await this.pass(sent, token);
    if (response.status !== 401 || !again(sent.init.body)) {
      return response;
    }
    const other = await this.keeper.renew(request, token, scope);
    if (other === undefined) {
      return response;
    }
    await response.body?.cancel();
    return this.pass(sent, other);
  }

  private pass({ url, init, headers }: Sent, token?: Token): Promise<Response> {
    const all = new Headers(headers);
    if (token !== undefined) {
      all.set("Authorization", `Bearer ${token.reveal()}`);
    }
    // A redirect is followed here, where it is known who may have the token.
    const redirect = init.redirect === "error" ? "error" : "manual";
    return this.base(url, { ...init, headers: all, redirect });
  }
}

/** A Request as what would make the same one, with what `init` changes. */
function asInit(request: Request, init: RequestInit): RequestInit {
  const { method, headers, body, credentials, integrity, keepalive, mode, redirect, referrer, referrerPolicy, signal } =
    request;
  const stream = body === null ? {} : { body, duplex: "half" as const };
  return {
    method,
    headers,
    credentials,
    integrity,
    keepalive,
    mode,
    redirect,
    referrer,
    referrerPolicy,
    signal,
    ...stream,
    ...init,
  };
}

/** Whether a body can be sent once more. */
function again(body: unknown): boolean {
  return (
    body === undefined ||
    body === null ||
    typeof body === "string" ||
    body instanceof URLSearchParams ||
    body instanceof FormData ||
    body instanceof Blob ||
    body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body)
  );
}

/** What a response asks for instead, by the rules of the fetch standard, if anything. */
function redirected({ url, init, headers }: Sent, response: Response): Sent | undefined {
  const location = response.headers.get("location");
  if (![301, 302, 303, 307, 308].includes(response.status) || location === null) {
    return undefined;
  }
  const to = new URL(location, url);
  if (to.protocol !== "https:" && to.protocol !== "http:") {
    throw new TypeError(`a redirect to ${to.protocol}`);
  }
  to.hash ||= url.hash;
  const next = new Headers(headers);
  const method = init.method?.toUpperCase() ?? "GET";
  const asGet =
    response.status === 303 ? method !== "GET" && method !== "HEAD" : response.status <= 302 && method === "POST";
  const { body, ...rest } = init;
  if (!asGet && !again(body)) {
    throw new TypeError("a redirect of a request whose body cannot be sent again");
  }
  for (const name of [...(asGet ? ofBody : []), ...(to.origin === url.origin ? [] : secrets)]) {
    next.delete(name);
  }
  const kept = asGet ? { ...rest, method: "GET" } : init;
  return { url: to, init: kept, headers: next };
}
