import assert from "node:assert/strict";
import { format, inspect } from "node:util";
import { test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, status } from "@grpc/grpc-js";

import { Bearer } from "../src/bearer.js";
import { fromService, fromStatus, known } from "../src/errors.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../src/gen/google/rpc/status_pb.js";
import { MintTokenResponseSchema } from "../src/gen/jotsmith/v1/token_service_pb.js";
import { connect } from "../src/index.js";
import { Token } from "../src/token.js";
import { FakeClock } from "./fake.js";

const secret = "eyJ.secret.sig";

function received(answered: boolean): Token {
  const clock = new FakeClock();
  const response = create(MintTokenResponseSchema, {
    token: secret,
    kid: "kid",
    refreshTime: timestampFromMs(60_000.25),
    expireTime: timestampFromMs(90_000),
  });
  if (answered) {
    response.answerTime = timestampFromMs(1000);
  }
  return new Token(response, clock.now(), clock);
}

test("a token is never printed", () => {
  const token = received(true);
  const client = connect("unix:///s", { bearer: "a-secret" });
  const logged: string[] = [];
  for (const value of [token, { token }, [token], new Map([["t", token]]), Bearer.ofText("a-secret"), client]) {
    for (const showHidden of [false, true]) {
      for (const customInspect of [false, true]) {
        logged.push(inspect(value, { showHidden, customInspect, depth: null, getters: true }));
      }
    }
    logged.push(format("%s %j %o %O %d", value, value, value, value, value), JSON.stringify(value));
  }
  logged.push(
    String(token),
    `a ${token as unknown as string}`,
    JSON.stringify({ token }),
    inspect(structuredClone({ token }), { depth: null }),
  );
  logged.push(JSON.stringify(Object.getOwnPropertyDescriptors(token)), JSON.stringify(Object.assign({}, token)));
  logged.push(inspect(new Error("x", { cause: token })));
  client.close();
  for (const text of logged) {
    assert.ok(!text.includes("secret"), text);
  }
  assert.equal(token.reveal(), secret);
  assert.equal(String(token), "token of key kid (redacted)");
});

test("a token without the server's time is not kept", () => {
  const token = received(false);
  assert.ok(token.oneTime && !token.fresh());
  assert.equal(token.remainingMs(), 0);
  assert.equal(token.refreshTime?.getTime(), 60_000);
  assert.equal(received(true).remainingMs(), 89_000);
});

test("an error has what the server says of it", () => {
  const failed = create(StatusSchema, {
    code: status.INVALID_ARGUMENT,
    message: "no",
    details: [
      anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason: "INVALID_REQUEST", domain: "jotsmith" })),
      anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: { seconds: 2n, nanos: 500_000_000 } })),
      anyPack(
        BadRequestSchema,
        create(BadRequestSchema, { fieldViolations: [{ field: "ttl", description: "is long" }] }),
      ),
      { typeUrl: "type.googleapis.com/google.rpc.ErrorInfo", value: Uint8Array.of(0xff) },
      { typeUrl: "type.googleapis.com/of.Others", value: Uint8Array.of(1, 2) },
    ],
  });
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, failed)));
  const sent = Object.assign(new Error("13 no"), { code: status.INTERNAL, details: "no", metadata });
  for (const error of [fromStatus(failed), fromService(sent)]) {
    const { name, code, reason, message, retryable, retryAfterMs, violations } = error;
    assert.deepEqual(
      { name, code, reason, message, retryable, retryAfterMs, violations },
      {
        name: "JotsmithError",
        code: "INVALID_ARGUMENT",
        reason: "INVALID_REQUEST",
        message: "no",
        retryable: false,
        retryAfterMs: 2500,
        violations: [{ field: "ttl", description: "is long" }],
      },
    );
  }
});

test("every code is a native error", () => {
  const codes = Object.keys(status).filter((name) => Number.isNaN(Number(name))) as (keyof typeof status)[];
  assert.equal(codes.length, 17);
  for (const code of codes) {
    const error = fromService(
      Object.assign(new Error(), { code: status[code], details: "d", metadata: new Metadata() }),
    );
    assert.equal(error.code, code);
    assert.equal(error.retryable, ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"].includes(code));
    assert.equal(
      error.name,
      code === "DEADLINE_EXCEEDED" ? "TimeoutError" : code === "CANCELLED" ? "AbortError" : "JotsmithError",
    );
  }
  assert.equal(known(new TypeError("x")).code, "INTERNAL");
});
