import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";

import { ServerCredentials, type Server } from "@grpc/grpc-js";

import { connect, type Client, type Settings } from "../src/index.js";
import { answer, bind } from "./server.js";

const dir = mkdtempSync(join(tmpdir(), "jot"));
after(() => {
  rmSync(dir, { recursive: true });
});

const path = (name: string) => join(dir, name);

/** Makes a certificate, of an authority or of its own. */
function issue(name: string, subject: string, authority?: string): void {
  const signed = authority === undefined ? [] : ["-CA", path(`${authority}.pem`), "-CAkey", path(`${authority}.key`)];
  const made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const names = authority === undefined ? [] : ["-addext", "subjectAltName=DNS:server.example,IP:127.0.0.1"];
  const files = ["-keyout", path(`${name}.key`), "-out", path(`${name}.pem`)];
  execFileSync("openssl", ["req", "-x509", ...made, ...signed, ...files, ...names, "-subj", `/CN=${subject}`], {
    stdio: "ignore",
  });
}

for (const name of ["ca", "strangers"]) {
  issue(name, name);
}
issue("server", "server", "ca");

/** Runs a server whose tokens are the names in its callers' certificates. */
async function serveTLS(port: number): Promise<{ server: Server; port: number }> {
  const pair = { private_key: readFileSync(path("server.key")), cert_chain: readFileSync(path("server.pem")) };
  return bind(`127.0.0.1:${port}`, ServerCredentials.createSsl(readFileSync(path("ca.pem")), [pair], true), {
    mint: (call, done) => {
      const subject = call.getAuthContext().sslPeerCertificate?.subject.CN;
      done(null, answer(typeof subject === "string" ? subject : "nobody"));
    },
  });
}

function clientOfTLS(t: TestContext, port: number, settings: Settings = {}): Client {
  const files = { tlsCA: path("ca.pem"), tlsCert: path("me.pem"), tlsKey: path("me.key") };
  const client = connect(`127.0.0.1:${port}`, { ...files, ...settings });
  t.after(() => {
    client.close();
  });
  return client;
}

test("the files of an identity are read anew for each connection", async (t) => {
  issue("me", "first", "ca");
  let { server, port } = await serveTLS(0);
  const client = clientOfTLS(t, port);
  const restart = async () => {
    server.forceShutdown();
    ({ server, port } = await serveTLS(port));
    client.invalidate("p");
  };
  t.after(() => {
    server.forceShutdown();
  });
  assert.equal((await client.token("p")).reveal(), "first");
  issue("me", "second", "ca");
  client.invalidate("p");
  assert.equal((await client.token("p")).reveal(), "first", "a connection that is open goes on");
  await restart();
  assert.equal((await client.token("p")).reveal(), "second");
  writeFileSync(path("me.pem"), "half"); // what was read before stays
  await restart();
  assert.equal((await client.token("p")).reveal(), "second");
});

test("a server is who its certificate says", async (t) => {
  issue("me", "me", "ca");
  const { server, port } = await serveTLS(0);
  t.after(() => {
    server.forceShutdown();
  });
  const brief = { timeoutMs: 400 };
  assert.equal((await clientOfTLS(t, port, { tlsServerName: "server.example" }).token("p")).reveal(), "me");
  await assert.rejects(clientOfTLS(t, port, { ...brief, tlsServerName: "other.example" }).token("p"), /altnames/);
  await assert.rejects(clientOfTLS(t, port, { ...brief, tlsCA: path("strangers.pem") }).token("p"), /certificate/);
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  t.after(() => {
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  });
  await assert.rejects(clientOfTLS(t, port, { ...brief, tlsCA: path("strangers.pem") }).token("p"), /certificate/);
});
