import assert from "node:assert/strict";
import { test } from "node:test";

import { systemClock } from "../src/clock.js";
import type { Code } from "../src/errors.js";
import { retry, Waits } from "../src/retry.js";
import { Scope } from "../src/scope.js";
import { errorOf, failure, FakeClock, settle } from "./fake.js";

test("the waits grow, and nobody's are those of everybody else", () => {
  const error = failure("UNAVAILABLE", "NOT_READY");
  const even = new Waits(() => 0);
  assert.deepEqual(
    Array.from({ length: 7 }, () => even.next(error)),
    [100, 200, 400, 800, 1600, 2000, 2000],
  );
  const odd = new Waits(() => 0.999);
  assert.ok(odd.next(error) > 119 && odd.next(error) <= 240);
  assert.equal(even.next(failure("UNAVAILABLE", "NOT_READY", 5000)), 5000);
  even.reset();
  assert.ok(even.unused);
  assert.equal(even.next(error), 100);
});

test("UNAVAILABLE is tried again when the server says", async () => {
  const clock = new FakeClock();
  let calls = 0;
  const done = retry(new Scope(clock, { timeoutMs: 60_000 }), () => {
    calls++;
    return calls < 3 ? Promise.reject(failure("UNAVAILABLE", "NOT_READY", 2000)) : Promise.resolve("done");
  });
  const took = await clock.until(done);
  assert.equal(await done, "done");
  assert.ok(calls === 3 && took >= 4000 && took <= 4800, `${calls} calls in ${took} ms`);
});

test("an error that no try can mend before the deadline comes at once", async () => {
  const clock = new FakeClock();
  const failed = retry(new Scope(clock, { timeoutMs: 1000 }), () =>
    Promise.reject(failure("UNAVAILABLE", "NOT_READY", 2000)),
  );
  const error = errorOf(failed);
  assert.equal(await clock.until(error), 0);
  assert.equal((await error).reason, "NOT_READY");
});

test("nothing else is tried again", async () => {
  for (const code of ["RESOURCE_EXHAUSTED", "INTERNAL", "PERMISSION_DENIED", "DEADLINE_EXCEEDED"] satisfies Code[]) {
    let calls = 0;
    const failed = retry(new Scope(new FakeClock()), () => {
      calls++;
      return Promise.reject(failure(code, "R", 1));
    });
    assert.equal((await errorOf(failed)).code, code);
    assert.equal(calls, 1);
  }
});

test("a call that is given up while it waits is cancelled", async () => {
  const controller = new AbortController();
  const clock = new FakeClock();
  const scope = new Scope(clock, { signal: controller.signal });
  const error = errorOf(retry(scope, () => Promise.reject(failure("UNAVAILABLE", "NOT_READY"))));
  await settle();
  controller.abort();
  assert.equal((await error).code, "CANCELLED");
  assert.equal(clock.waiting, 1, "the scope's own timer");
  scope.close();
  assert.equal(clock.waiting, 0);
});

test("a timer of more than 24 days is not over at once", async () => {
  let over = false;
  const stop = systemClock.after(2 ** 40, () => {
    over = true;
  });
  const end = systemClock.after(Infinity, () => {
    over = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(!over);
  stop();
  end();
});

test("a signal of many calls is no leak", async () => {
  const warned: Error[] = [];
  const note = (warning: Error) => warned.push(warning);
  process.on("warning", note);
  const { signal } = new AbortController();
  const clock = new FakeClock();
  const scopes = Array.from({ length: 50 }, () => new Scope(clock, { signal }));
  await settle();
  for (const scope of scopes) {
    scope.close();
  }
  process.off("warning", note);
  assert.deepEqual(warned, []);
});
