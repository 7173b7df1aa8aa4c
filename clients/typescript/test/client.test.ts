import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { test, type TestContext } from "node:test";

import { credentials, status } from "@grpc/grpc-js";

import { connect, JotsmithError, SettingError } from "../src/index.js";
import { TokenService } from "../src/proto.js";
import { answer, clientOf, serve, socketOf } from "./server.js";

/** A server that takes connections and says nothing; it ends with the test. */
async function mute(
  t: TestContext,
  where: string | { port: number; host: string },
): Promise<{ port: number; taken: () => number }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => undefined).resume();
    sockets.push(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(where, resolve);
  });
  t.after(() => {
    for (const socket of sockets) {
      socket.destroy();
    }
    server.close();
  });
  return { port: typeof where === "string" ? 0 : (server.address() as AddressInfo).port, taken: () => sockets.length };
}

test("a server that is not there yet is waited for", async (t) => {
  const socket = socketOf(t);
  const token = clientOf(t, socket).token("p");
  setTimeout(
    () =>
      void serve(t, socket, {
        mint: (_, done) => {
          done(null, answer("late"));
        },
      }),
    300,
  );
  assert.equal((await token).reveal(), "late");
});

test("a bearer goes with each call, as its file is then", async (t) => {
  const socket = socketOf(t);
  const file = `${socket}.bearer`;
  writeFileSync(file, "first\n");
  const seen: unknown[] = [];
  await serve(t, socket, {
    mint: (call, done) => {
      seen.push(...call.metadata.get("authorization"));
      done({ code: status.PERMISSION_DENIED, details: "no" });
    },
  });
  const client = clientOf(t, socket, { bearerFile: file });
  await assert.rejects(client.token("p"), { code: "PERMISSION_DENIED" });
  writeFileSync(file, "second\n");
  await assert.rejects(client.token("p"), { code: "PERMISSION_DENIED" });
  assert.deepEqual(seen, ["Bearer first", "Bearer second"]);
  writeFileSync(file, "");
  await assert.rejects(
    client.token("p"),
    (error) =>
      error instanceof JotsmithError && error.code === "UNAUTHENTICATED" && error.message.includes("a token alone"),
  );
});

test("a connection on which nothing is said is given up", { timeout: 20_000 }, async (t) => {
  const socket = socketOf(t);
  const plain = await mute(t, socket);
  const tls = await mute(t, { port: 0, host: "127.0.0.1" });
  const clients = [
    clientOf(t, socket, { timeoutMs: 6500 }),
    connect(`127.0.0.1:${tls.port}`, { bearer: "t", timeoutMs: 6500 }),
  ];
  t.after(() => {
    clients[1]?.close();
  });
  const errors = await Promise.all(clients.map((client) => client.token("p").catch((error: unknown) => error)));
  for (const error of errors) {
    assert.ok(error instanceof JotsmithError && error.retryable, String(error));
  }
  assert.ok(plain.taken() >= 2 && tls.taken() >= 2, `${plain.taken()} and ${tls.taken()} connections`);
});

test("a bearer is never sent in the clear", async (t) => {
  let said = "";
  const server = createServer();
  const heard = new Promise<void>((resolve) => {
    server.on("connection", (socket) => {
      socket
        .on("error", () => undefined)
        .on("data", (data) => {
          said += data.toString("latin1");
          resolve();
        });
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  t.after(() => server.close());
  const client = connect(`127.0.0.1:${(server.address() as AddressInfo).port}`, { bearer: "secret" });
  t.after(() => {
    client.close();
  });
  const token = assert.rejects(client.token("p"), { code: "CANCELLED" });
  await heard;
  assert.ok(!said.includes("secret"));
  assert.throws(() => client.channelCredentials("p", {}, credentials.createInsecure()), SettingError);
  assert.ok(client.channelCredentials("p")._isSecure());
  client.close();
  await token;
});

test("a call ends with its signal, its own deadline and the client", async (t) => {
  const socket = socketOf(t);
  await serve(t, socket, { mint: () => undefined });
  const client = clientOf(t, socket, { timeoutMs: 500 });
  await assert.rejects(client.token("p", { timeoutMs: 50 }), { name: "TimeoutError", code: "DEADLINE_EXCEEDED" });
  const controller = new AbortController();
  setTimeout(() => {
    controller.abort(new Error("mine"));
  }, 50);
  await assert.rejects(
    client.token("p", { signal: controller.signal }),
    (error) =>
      error instanceof JotsmithError && error.name === "AbortError" && (error.cause as Error).message === "mine",
  );
  await assert.rejects(client.token("p"), { code: "DEADLINE_EXCEEDED" });
  const closing = assert.rejects(client.token("p"), { code: "CANCELLED" });
  const explaining = assert.rejects(client.explain("p"), JotsmithError);
  client.close();
  await Promise.all([closing, explaining]);
  for (const call of [client.token("p"), client.keys(), client.batch([])]) {
    await assert.rejects(call, { code: "CANCELLED" });
  }
});

test("what has no method here can be called", async (t) => {
  const socket = socketOf(t);
  await serve(t, socket, {
    mint: (call, done) => {
      done(null, answer(`of ${call.request.profile}`));
    },
  });
  const { token } = await clientOf(t, socket).call(TokenService.method.mintToken, { profile: "p" });
  assert.equal(token, "of p");
});

test("what the server does not know is an error of the one type", async (t) => {
  const socket = socketOf(t);
  await serve(t, socket, {});
  const client = clientOf(t, socket);
  await assert.rejects(client.keys(), { code: "UNIMPLEMENTED", reason: "", retryable: false });
  await assert.rejects(client.batch([{ profile: "p", claims: { n: NaN } }]), { reason: "INVALID_REQUEST" });
});
