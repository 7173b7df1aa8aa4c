import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";

import { status } from "@grpc/grpc-js";

import { JotsmithError } from "../src/index.js";
import { answer, clientOf, serve, socketOf } from "./server.js";

/** Runs a web server that ends with the test, and returns its URL. */
async function web(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A fetch whose tokens are token-1, token-2, ... */
async function plugged(t: TestContext, options: { same?: boolean; oneTime?: boolean } = {}): Promise<typeof fetch> {
  const socket = socketOf(t);
  let n = 0;
  await serve(t, socket, {
    mint: (_, done) => {
      n += options.same === true ? 0 : 1;
      done(null, answer(`token-${n}`, options.oneTime === true ? { refreshTime: undefined } : {}));
    },
  });
  return clientOf(t, socket).fetch("p");
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

/** A listener that refuses all tokens but one, and says what it has seen. */
function picky(seen: string[], liked: string): RequestListener {
  return (request, response) => {
    void bodyOf(request).then((body) => {
      const token = request.headers.authorization ?? "none";
      seen.push(`${request.method ?? ""} ${token} ${body}`);
      response.statusCode = token === `Bearer ${liked}` ? 200 : 401;
      response.end(token);
    });
  };
}

test("a request is repeated once with another token", async (t) => {
  const seen: string[] = [];
  const url = await web(t, picky(seen, "token-2"));
  const fetch = await plugged(t);
  const headers = new Headers({ authorization: "Basic mine" });
  const response = await fetch(url, { method: "PATCH", body: "text", headers });
  assert.equal(response.status, 200);
  assert.deepEqual(seen, ["PATCH Bearer token-1 text", "PATCH Bearer token-2 text"]);
  assert.equal(headers.get("authorization"), "Basic mine", "the program's headers were changed");
  assert.equal((await fetch(new Request(url, { method: "PUT", body: "more" }))).status, 200);
  assert.equal(seen.at(-1), "PUT Bearer token-2 more");
});

test("all bodies that can be sent again are", async (t) => {
  const form = new FormData();
  form.set("a", "text");
  for (const body of [
    "text",
    new URLSearchParams({ a: "text" }),
    new Blob(["text"]),
    Buffer.from("text"),
    new TextEncoder().encode("text").buffer,
    form,
  ]) {
    const seen: string[] = [];
    const url = await web(t, picky(seen, "token-2"));
    const response = await (await plugged(t))(url, { method: "POST", body });
    assert.equal(response.status, 200);
    assert.ok(seen.length === 2 && seen.every((text) => text.includes("text")), seen.join());
  }
});

test("a refusal stands where nothing would change", async (t) => {
  const stream = () => new Blob(["text"]).stream();
  const rows: [object, string | Request, RequestInit?][] = [
    [{ same: true }, ""],
    [{ oneTime: true }, ""],
    [{}, "", { method: "POST", body: stream(), duplex: "half" }],
    [{}, "request"],
  ];
  for (const [options, input, init] of rows) {
    const seen: string[] = [];
    const url = await web(t, picky(seen, "token-x"));
    const fetch = await plugged(t, options);
    const response = await fetch(input === "" ? url : new Request(url, { method: "POST", body: "text" }), init);
    assert.equal(response.status, 401);
    assert.match(await response.text(), /^Bearer token-/);
    assert.equal(seen.length, 1);
  }
});

test("a second refusal is not repeated", async (t) => {
  const seen: string[] = [];
  const url = await web(t, picky(seen, "token-x"));
  assert.equal((await (await plugged(t))(url)).status, 401);
  assert.equal(seen.length, 2);
});

test("a redirect elsewhere gets no token", async (t) => {
  const elsewhere: IncomingMessage["headers"][] = [];
  const other = await web(t, (request, response) => {
    elsewhere.push(request.headers);
    response.statusCode = 401;
    response.end("elsewhere");
  });
  const here: string[] = [];
  const url = await web(t, (request, response) => {
    here.push(`${request.url ?? ""} ${request.headers.authorization ?? "none"}`);
    const to = { "/away": `${other}/there`, "/stay": "/here", "/local": `${other.replace("127.0.0.1", "localhost")}/` }[
      request.url ?? ""
    ];
    response.writeHead(to === undefined ? 200 : 302, to === undefined ? {} : { location: to }).end("here");
  });
  const fetch = await plugged(t);
  const stayed = await fetch(`${url}/stay`);
  assert.deepEqual([stayed.status, stayed.redirected, stayed.url], [200, true, `${url}/here`]);
  assert.deepEqual(here, ["/stay Bearer token-1", "/here Bearer token-1"]);
  const headers = { cookie: "a=b", "x-other": "kept" };
  for (const path of ["/away", "/local"]) {
    const away = await fetch(url + path, { headers });
    assert.deepEqual([away.status, await away.text()], [401, "elsewhere"]);
  }
  assert.equal(elsewhere.length, 2, "a refusal elsewhere is not repeated");
  for (const seen of elsewhere) {
    assert.deepEqual([seen.authorization, seen.cookie, seen["x-other"]], [undefined, undefined, "kept"]);
  }
  assert.equal((await fetch(`${url}/away`, { redirect: "manual" })).status, 302);
  await assert.rejects(fetch(`${url}/away`, { redirect: "error" }), TypeError);
});

test("redirects go as the standard says", async (t) => {
  const seen: string[] = [];
  const url = await web(t, (request, response) => {
    void bodyOf(request).then((body) => {
      const [, code] = request.url?.split("/") ?? [];
      seen.push(`${request.method ?? ""} ${request.headers["content-type"] ?? "none"} ${body}`);
      response.writeHead(Number(code), { location: code === "307" ? "/200" : "/200#x" }).end();
    });
  });
  const fetch = await plugged(t);
  const post = { method: "POST", body: "text", headers: { "content-type": "text/x" } };
  for (const [code, method, want] of [
    ["301", "POST", "GET none "],
    ["302", "PUT", "PUT text/x text"],
    ["303", "PUT", "GET none "],
    ["307", "POST", "POST text/x text"],
    ["308", "POST", "POST text/x text"],
  ] as const) {
    const response = await fetch(`${url}/${code}`, { ...post, method });
    assert.equal(response.status, 200);
    assert.equal(seen.pop(), want, code);
  }
  await assert.rejects(
    fetch(`${url}/307`, { method: "POST", body: new Blob(["x"]).stream(), duplex: "half" }),
    TypeError,
  );
  const loop = await web(t, (_, response) => {
    response.writeHead(302, { location: "/" }).end();
  });
  await assert.rejects(fetch(loop), /too many redirects/);
  const odd = await web(t, (_, response) => {
    response.writeHead(302, { location: "file:///etc/passwd" }).end();
  });
  await assert.rejects(fetch(odd), TypeError);
});

test("without a token there is no request", async (t) => {
  const seen: string[] = [];
  const url = await web(t, picky(seen, "x"));
  const socket = socketOf(t);
  await serve(t, socket, {
    mint: (_, done) => {
      done({ code: status.PERMISSION_DENIED, details: "no" });
    },
  });
  let given: unknown;
  const body = new ReadableStream({
    cancel: (reason) => {
      given = reason;
    },
  });
  const failed = clientOf(t, socket).fetch("p")(url, { method: "POST", body, duplex: "half" });
  await assert.rejects(
    failed,
    (error) => error instanceof JotsmithError && error.code === "PERMISSION_DENIED" && error === given,
  );
  assert.equal(seen.length, 0);
});

test("a signal ends the wait for a token and the request", async (t) => {
  const fetch = await plugged(t);
  await assert.rejects(fetch("http://127.0.0.1:1", { signal: AbortSignal.abort() }), { name: "AbortError" });
  const url = await web(t, () => undefined);
  const controller = new AbortController();
  const request = fetch(url, { signal: controller.signal });
  setTimeout(() => {
    controller.abort();
  }, 50);
  await assert.rejects(request, { name: "AbortError" });
});
