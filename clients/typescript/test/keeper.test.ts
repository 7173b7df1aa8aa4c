import assert from "node:assert/strict";
import { test } from "node:test";

import { Prepared } from "../src/request.js";
import { Scope } from "../src/scope.js";
import { errorOf, failure, Scripted, settle } from "./fake.js";

const request = { profile: "p" };

test("a token is kept until its refresh time, whatever the clocks say", async () => {
  for (const skewMs of [0, 34_000, -34_000, 86_400_000, -86_400_000]) {
    const s = new Scripted();
    s.skewMs = skewMs;
    await s.token();
    await s.clock.pass(399_999);
    const token = await s.token();
    assert.equal(token.reveal(), "token-1");
    assert.equal(token.remainingMs(), 200_001);
    assert.ok(token.fresh());
    await s.clock.pass(1);
    assert.equal(await s.text(), "token-2");
    assert.ok(!token.fresh());
    await s.clock.pass(3_600_000);
    assert.equal(token.remainingMs(), 0);
  }
});

test("the time asleep counts", async () => {
  const s = new Scripted();
  await s.token();
  s.clock.wallAhead += 400_000;
  assert.equal(await s.text(), "token-2");
  s.clock.wallAhead -= 3_600_000; // a clock that is set back makes nothing younger
  await s.clock.pass(400_000);
  assert.equal(await s.text(), "token-3");
});

test("an old token serves while the server is away, and never past its margin", async () => {
  for (const code of ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"] as const) {
    const s = new Scripted();
    await s.token();
    s.fail = failure(code, "DRAINING", 5000);
    await s.clock.pass(400_000);
    assert.equal(await s.text(), "token-1");
    const before = s.calls;
    await s.clock.pass(4999);
    assert.equal(await s.text(), "token-1");
    assert.equal(s.calls, before, "the server was asked before it wanted to be");
    await s.clock.pass(1);
    assert.equal(await s.text(), "token-1");
    assert.equal(s.calls, before + 1);
    await s.clock.pass(94_999);
    assert.equal(await s.text(), "token-1");
    await s.clock.pass(1);
    const error = await errorOf(s.token());
    assert.deepEqual([error.reason, error.retryable, error.retryAfterMs], ["DRAINING", true, 5000]);
    s.fail = undefined;
    assert.equal(await s.text(), `token-${s.calls}`);
  }
});

test("a refused renewal is not ignored", async () => {
  for (const code of ["PERMISSION_DENIED", "FAILED_PRECONDITION", "UNAUTHENTICATED", "INTERNAL"] as const) {
    const s = new Scripted();
    await s.token();
    s.fail = failure(code, "SAID_NO");
    await s.clock.pass(400_000);
    assert.equal((await errorOf(s.token())).reason, "SAID_NO");
    s.fail = failure("UNAVAILABLE", "AWAY");
    assert.equal((await errorOf(s.token())).reason, "AWAY"); // the old one is gone
  }
});

test("a wrong request forgets nothing", async () => {
  const s = new Scripted();
  await s.token();
  s.fail = failure("INVALID_ARGUMENT", "INVALID_REQUEST");
  assert.equal((await errorOf(s.token({ ...request, minRemainingMs: 601_000 }))).reason, "INVALID_REQUEST");
  assert.equal(await s.text(), "token-1");
});

test("a silent server delays an old token by a second at most", async () => {
  const s = new Scripted();
  await s.token();
  await s.clock.pass(400_000);
  s.takesMs = 3_600_000;
  const waited = s.token();
  assert.equal(await s.clock.until(waited), 1000);
  assert.equal((await waited).reveal(), "token-1");
  const hurried = s.token(request, { timeoutMs: 100 });
  assert.equal(await s.clock.until(hurried), 50);
  assert.equal((await hurried).reveal(), "token-1");
});

test("a hundred callers are one request", async () => {
  const s = new Scripted();
  s.takesMs = 1000;
  const callers = Array.from({ length: 100 }, () => s.token({ ...request, claims: { b: 1, a: "é" } }));
  await s.clock.until(Promise.all(callers));
  assert.deepEqual(new Set((await Promise.all(callers)).map((token) => token.reveal())), new Set(["token-1"]));
  assert.equal(await s.text({ ...request, claims: '{ "a":"\\u00e9", "b":1 }' }), "token-1");
  assert.equal(s.calls, 1);
  assert.equal(s.clock.waiting, 0, "timers are left");
});

test("no two callers get a token that is for one use", async () => {
  const s = new Scripted();
  s.oneTime = true;
  s.takesMs = 1000;
  const callers = Promise.all(Array.from({ length: 20 }, () => s.token()));
  await s.clock.until(callers);
  const one = s.token();
  await s.clock.until(one);
  const tokens = [...(await callers), await one];
  assert.equal(new Set(tokens.map((token) => token.reveal())).size, 21);
  assert.ok(tokens.every((token) => token.oneTime && !token.fresh()));
  assert.equal(s.calls, 21);
  s.oneTime = false; // another configuration
  s.takesMs = 0;
  assert.equal(await s.text(), "token-22");
  assert.equal(await s.text(), "token-22");
});

test("a token without an end has no margin", async () => {
  const s = new Scripted();
  s.endless = true;
  await s.token();
  s.fail = failure("UNAVAILABLE", "AWAY");
  await s.clock.pass(399_999);
  assert.equal(await s.text(), "token-1");
  await s.clock.pass(1);
  assert.equal((await errorOf(s.token())).reason, "AWAY");
});

test("minRemainingMs is kept", async () => {
  const s = new Scripted();
  const long = { ...request, minRemainingMs: 540_000 };
  await s.token();
  assert.equal(await s.text(long), "token-1");
  await s.clock.pass(60_001);
  assert.equal(await s.text(long), "token-2");
  assert.equal(s.leastMs(), 540_000);
  await s.clock.pass(120_000);
  s.fail = failure("UNAVAILABLE", "AWAY");
  assert.equal(await s.text(), "token-2");
  assert.equal((await errorOf(s.token(long))).reason, "AWAY"); // the old one has less
  const endless = new Scripted();
  endless.endless = true;
  await endless.token();
  assert.equal(await endless.text({ ...request, minRemainingMs: 1000 }), "token-2");
});

test("a caller who gives up stops nobody else", async () => {
  const s = new Scripted();
  s.takesMs = 1000;
  const controller = new AbortController();
  const first = errorOf(s.token(request, { signal: controller.signal }));
  const second = s.token();
  await settle();
  controller.abort();
  const error = await first;
  assert.deepEqual([error.code, error.name, error.retryable], ["CANCELLED", "AbortError", false]);
  await s.clock.until(second);
  assert.equal((await second).reveal(), "token-1");
  assert.equal((await errorOf(s.token(request, { signal: controller.signal }))).code, "CANCELLED");
});

test("a call has a deadline", async () => {
  const s = new Scripted();
  s.takesMs = 3_600_000;
  const all = errorOf(s.token());
  assert.equal(await s.clock.until(all), 10_000);
  const error = await all;
  assert.deepEqual(
    [error.code, error.reason, error.name, error.retryable],
    ["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "TimeoutError", true],
  );
  const own = errorOf(s.token(request, { timeoutMs: 1000 }));
  assert.equal(await s.clock.until(own), 1000);
  assert.equal((await own).code, "DEADLINE_EXCEEDED");
  const late = AbortSignal.abort(new DOMException("late", "TimeoutError")); // as AbortSignal.timeout's
  assert.equal((await errorOf(s.token({ profile: "q" }, { signal: late }))).code, "DEADLINE_EXCEEDED");
});

test("what is kept is bounded", async () => {
  const s = new Scripted();
  for (let n = 0; n < 100; n++) {
    assert.equal(await s.text({ ...request, claims: { n } }), `token-${n + 1}`);
  }
  assert.equal(s.keeper.size, 8);
  assert.equal(await s.text({ ...request, claims: '{"n":92}' }), "token-93");
  assert.equal(await s.text({ profile: "q" }), "token-101");
  assert.equal(await s.text({ ...request, claims: '{"n":92}' }), "token-93"); // asked for since
  assert.equal(await s.text({ ...request, claims: '{"n":93}' }), "token-102");
  s.fail = failure("PERMISSION_DENIED", "NOT_GRANTED");
  for (let n = 0; n < 100; n++) {
    await errorOf(s.token({ profile: `x${n}` }));
  }
  assert.equal(s.keeper.size, 7, "what was refused has places");
});

test("invalidate forgets what is under way too", async () => {
  const s = new Scripted();
  s.takesMs = 1000;
  const first = s.token();
  await settle();
  s.keeper.invalidate("p");
  const second = s.token();
  await s.clock.until(Promise.all([first, second]));
  assert.deepEqual([(await first).reveal(), (await second).reveal()], ["token-1", "token-2"]);
  assert.equal(await s.text(), "token-2");
  s.keeper.invalidate("other");
  assert.equal(await s.text(), "token-2");
});

test("a refused token is made anew once it is old enough", async () => {
  const s = new Scripted();
  const prepared = new Prepared(request);
  const scope = new Scope(s.clock);
  const first = await s.token();
  const second = await s.keeper.renew(prepared, first, scope);
  assert.equal(second?.reveal(), "token-2");
  assert.equal(s.leastMs(), undefined);
  // A second caller who was refused the first token gets what is kept now.
  assert.equal((await s.keeper.renew(prepared, first, scope))?.reveal(), "token-2");
  await s.clock.pass(60_500);
  assert.equal((await s.keeper.renew(prepared, second, scope))?.reveal(), "token-3");
  assert.equal(s.leastMs(), 544_000);
});

test("where there is no other token, there is none", async () => {
  const s = new Scripted();
  s.same = true;
  const scope = new Scope(s.clock);
  assert.equal(await s.keeper.renew(new Prepared(request), await s.token(), scope), undefined);
  const once = new Scripted();
  once.oneTime = true;
  assert.equal(await once.keeper.renew(new Prepared(request), await once.token(), scope), undefined);
  assert.equal(once.calls, 1);
});

test("a close ends what is under way", async () => {
  const s = new Scripted();
  s.takesMs = 3_600_000;
  const waiting = errorOf(s.token());
  await settle();
  s.keeper.close();
  assert.equal((await waiting).code, "CANCELLED");
  assert.equal((await errorOf(s.token())).code, "CANCELLED");
  assert.equal(s.clock.waiting, 1, "only the server's own timer is left");
});
