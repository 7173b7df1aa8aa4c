import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { Bearer } from "../src/bearer.js";
import { SettingError } from "../src/errors.js";
import { connect } from "../src/index.js";
import { resolve, type Settings } from "../src/settings.js";

const dir = mkdtempSync(join(tmpdir(), "jot"));
after(() => {
  rmSync(dir, { recursive: true });
});

const path = (name: string) => join(dir, name);
const write = (name: string, text: string) => {
  writeFileSync(path(name), text);
  return path(name);
};
const junk = write("junk", "two words");
const broken = write("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
const token = write("token", "a.b.c \n");

test("connect says what is wrong with its settings", () => {
  execFileSync("mkfifo", [path("pipe")]);
  const rows: [string, string, Settings][] = [
    ["nowhere", "neither unix:///PATH nor HOST:PORT", {}],
    ["https://host:1", "neither unix:///PATH nor HOST:PORT", {}],
    ["::1:80", "neither unix:///PATH nor HOST:PORT", {}],
    ["host:1", "client certificate or a token", {}],
    ["unix:///s", "no TLS", { tlsCA: junk }],
    ["unix:///s", "no TLS", { tlsServerName: "x" }],
    ["host:1", "no PEM certificate", { tlsCA: junk }],
    ["host:1", "CA of the server", { tlsCA: broken }],
    ["host:1", "CA of the server", { tlsCA: path("none") }],
    ["host:1", "go together", { tlsCert: junk }],
    ["host:1", "client certificate: ", { tlsCert: junk, tlsKey: junk }],
    ["host:1", "client certificate: ", { tlsCert: path("none"), tlsKey: junk }],
    ["host:1", "a token alone", { bearerFile: junk }],
    ["host:1", "not a regular file", { bearerFile: dir }],
    ["host:1", "not a regular file", { bearerFile: path("pipe") }],
    ["host:1", "no such file", { bearerFile: path("none") }],
    ["host:1", "longer than a token", { bearerFile: write("long", "a".repeat(8194)) }],
    ["localhost:1", "not for", { plaintextLoopback: true }],
    ["[::ffff:127.0.0.1]:1", "not for", { plaintextLoopback: true }],
    ["127.0.0.1:65536", "not for", { plaintextLoopback: true }],
    ["127.0.0.256:1", "not for", { plaintextLoopback: true }],
    ["127.1:1", "not for", { plaintextLoopback: true }],
    ["128.0.0.1:1", "not for", { plaintextLoopback: true }],
    ["unix:///s", "not for", { plaintextLoopback: true }],
    ["127.0.0.1:1", "exclude each other", { plaintextLoopback: true, tlsCA: junk }],
    ["127.0.0.1:1", "not sent in plaintext", { plaintextLoopback: true, bearer: "t" }],
    ["unix:///s", "not a token alone", { bearer: "a b" }],
    ["unix:///s", "timeoutMs", { timeoutMs: -1 }],
  ];
  for (const [address, want, settings] of rows) {
    assert.throws(
      () => connect(address, settings),
      (error) => error instanceof SettingError && error.name === "SettingError" && error.message.includes(want),
      `${address}: ${want}`,
    );
  }
});

test("the environment says what nobody else does", () => {
  const env = {
    JOTSMITH_ADDRESS: "unix:///of/env",
    JOTSMITH_TLS_CA: "/of/another/server",
    JOTSMITH_BEARER_FILE: token,
  };
  const resolved = resolve(undefined, {}, env);
  assert.deepEqual(resolved.transport, { kind: "unix", target: "unix:///of/env" });
  assert.equal(resolved.bearer?.read(), "a.b.c");
  assert.deepEqual([resolved.timeoutMs, resolved.maxKept], [10_000, 1024]);
  assert.equal(resolve("", { bearer: "mine" }, env).bearer?.read(), "mine");
  assert.equal(resolve(undefined, {}, {}).transport.target, "unix:///run/jotsmith/jotsmith.sock");
  assert.throws(() => resolve("host:1", {}, env), /\/of\/another\/server/);
  assert.throws(() => resolve("unix:///s", {}, { JOTSMITH_BEARER_FILE: "/no/such/bearer" }), /\/no\/such\/bearer/);
  assert.deepEqual(resolve("[::1]:80", {}, { JOTSMITH_PLAINTEXT_LOOPBACK: "true" }).transport, {
    kind: "plaintext",
    target: "ipv6:[::1]:80",
  });
});

test("a host by its number is no name to ask for", () => {
  const transport = (address: string, settings: Settings = {}) =>
    resolve(address, { bearer: "t", ...settings }, {}).transport;
  const files = { ca: undefined, cert: undefined, key: undefined };
  assert.deepEqual(transport("[::1]:80"), {
    kind: "tls",
    target: "dns:///[::1]:80",
    files,
    name: "::1",
    authority: undefined,
  });
  assert.deepEqual(transport("host:80", { tlsServerName: "other" }), {
    kind: "tls",
    target: "dns:///host:80",
    files,
    name: "other",
    authority: "other",
  });
});

test("a bearer file is read anew", () => {
  const bearer = Bearer.ofFile(token);
  write("token", `${"x".repeat(8192)}\n`);
  assert.equal(bearer.read().length, 8192);
  write("token", "");
  assert.throws(() => bearer.read(), SettingError);
});
