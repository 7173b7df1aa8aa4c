import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { create } from "@bufbuild/protobuf";
import { status, type StatusObject } from "@grpc/grpc-js";

import { WatchTokenResponseSchema } from "../src/gen/jotsmith/v1/token_service_pb.js";
import { JotsmithError, type Client, type TokenOptions } from "../src/index.js";
import { answer, clientOf, serve, socketOf } from "./server.js";

/** One stream of a server: its tokens, and how it ends, if it does. */
interface Stream {
  tokens: string[];
  end?: Partial<StatusObject> | "silently";
}

/** What a watch has brought. */
interface Watched {
  tokens: string[];
  began: number[];
  error: JotsmithError | undefined;
}

const draining = { code: status.UNAVAILABLE, details: "draining" };

async function scripted(
  t: TestContext,
  streams: Stream[],
  timeoutMs = 10_000,
): Promise<{ client: Client; began: number[] }> {
  const socket = socketOf(t);
  const began: number[] = [];
  await serve(t, socket, {
    watch: (call) => {
      began.push(performance.now());
      const stream = streams.shift() ?? { tokens: [] };
      for (const token of stream.tokens) {
        call.write(create(WatchTokenResponseSchema, { token: answer(token) }));
      }
      if (stream.end === "silently") {
        call.end();
      } else if (stream.end !== undefined) {
        call.emit("error", stream.end);
      }
    },
  });
  return { client: clientOf(t, socket, { timeoutMs }), began };
}

/** Watches until the token "enough", the end, or an error. */
async function watch(
  t: TestContext,
  streams: Stream[],
  options: TokenOptions = {},
  timeoutMs?: number,
): Promise<Watched> {
  const { client, began } = await scripted(t, streams, timeoutMs);
  const watched: Watched = { tokens: [], began, error: undefined };
  try {
    for await (const token of client.watch("p", options)) {
      watched.tokens.push(token.reveal());
      if (token.reveal() === "enough") {
        break;
      }
    }
  } catch (error) {
    assert.ok(error instanceof JotsmithError);
    watched.error = error;
  }
  return watched;
}

test("a watch follows a server that stops", async (t) => {
  const { tokens, began, error } = await watch(t, [
    { tokens: ["a", "b"], end: draining },
    { tokens: ["b"], end: draining },
    { tokens: [], end: "silently" },
    { tokens: [], end: { code: status.RESOURCE_EXHAUSTED, details: "quota" } },
    { tokens: ["b", "enough"] },
  ]);
  assert.deepEqual([tokens, error], [["a", "b", "enough"], undefined]);
  assert.equal(began.length, 5);
  const [, second = 0, third = 0, fourth = 0] = began;
  assert.ok(third - second >= 100, `a server that stops over and over is asked after ${third - second} ms`);
  assert.ok(fourth - third >= 200);
});

test("a watch ends when there can be no token", async (t) => {
  const { tokens, began, error } = await watch(t, [
    { tokens: ["a"], end: { code: status.PERMISSION_DENIED, details: "no" } },
  ]);
  assert.deepEqual([tokens, error?.code, began.length], [["a"], "PERMISSION_DENIED", 1]);
});

test("a watch ends when no first token comes in time", async (t) => {
  const start = performance.now();
  const { tokens, error } = await watch(t, [{ tokens: [] }], {}, 600);
  assert.deepEqual([tokens, error?.code, error?.name], [[], "DEADLINE_EXCEEDED", "TimeoutError"]);
  assert.ok(performance.now() - start >= 590);
  const nobody = clientOf(t, socketOf(t), { timeoutMs: 300 }).watch("p")[Symbol.asyncIterator]();
  await assert.rejects(nobody.next(), { code: "UNAVAILABLE" });
  assert.deepEqual(await nobody.next(), { done: true, value: undefined });
});

test("a caller who stops gets no error", async (t) => {
  const timed = await watch(t, [{ tokens: ["a"] }], { timeoutMs: 1500 });
  assert.deepEqual([timed.tokens, timed.error], [["a"], undefined]);
  const aborted = await watch(t, [{ tokens: ["a"] }], { signal: AbortSignal.abort() });
  assert.deepEqual([aborted.tokens, aborted.error], [[], undefined]);
  const { client } = await scripted(t, [{ tokens: ["a"] }]);
  const controller = new AbortController();
  const got: string[] = [];
  for await (const token of client.watch("p", { signal: controller.signal })) {
    got.push(token.reveal());
    controller.abort();
  }
  assert.deepEqual(got, ["a"]);
});

test("an iterator that is returned while it waits ends at once", async (t) => {
  const { client } = await scripted(t, [{ tokens: ["a"] }]);
  const iterator = client.watch("p")[Symbol.asyncIterator]();
  assert.equal((await iterator.next()).done, false);
  const waiting = iterator.next();
  await iterator.return?.();
  assert.equal((await waiting).done, true);
});

test("a closed client ends its watches with an error", async (t) => {
  const { client } = await scripted(t, [{ tokens: ["a"] }]);
  const iterator = client.watch("p")[Symbol.asyncIterator]();
  await iterator.next();
  const waiting = assert.rejects(iterator.next(), { code: "CANCELLED" });
  client.close();
  await waiting;
  await assert.rejects(client.watch("p")[Symbol.asyncIterator]().next(), { code: "CANCELLED" });
});

test("a wrong request is the watch's first error", async (t) => {
  const { client, began } = await scripted(t, []);
  const watching = client.watch("p", { claims: { n: NaN } });
  await assert.rejects(watching[Symbol.asyncIterator]().next(), { reason: "INVALID_REQUEST" });
  assert.equal(began.length, 0);
});
