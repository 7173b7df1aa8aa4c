import assert from "node:assert/strict";
import { test } from "node:test";
import { runInNewContext } from "node:vm";

import { canonical } from "../src/canonical.js";
import { Prepared, type RequestOptions } from "../src/request.js";
import { JotsmithError } from "../src/errors.js";

test("claims stay as they are written", () => {
  const rows: [RequestOptions["claims"], string][] = [
    [undefined, ""],
    ['{"n": 9007199254740991}', '{"n": 9007199254740991}'],
    ['{"n":1e2,"n":1.0}', '{"n":1e2,"n":1.0}'],
    [new TextEncoder().encode('\ufeff{"é":1}'), '\ufeff{"é":1}'],
    [{ z: 9007199254740993n, a: 'é\u2028<&>"' }, '{"z":9007199254740993,"a":"é\u2028<&>\\""}'],
    [
      { n: -(2n ** 70n), m: 2 ** 60, f: 1.5, e: 1e21, s: 5e-324, o: -0 },
      '{"n":-1180591620717411303424,"m":1152921504606846976,"f":1.5,"e":1000000000000000000000,"s":5e-324,"o":-0}',
    ],
    [
      { list: [1, null, true, { x: undefined }], gone: undefined, at: new Date(0) },
      '{"list":[1,null,true,{}],"at":"1970-01-01T00:00:00.000Z"}',
    ],
    [runInNewContext('({ of: ["elsewhere"] })') as Record<string, unknown>, '{"of":["elsewhere"]}'],
    [{ lone: "\ud800" }, '{"lone":"\\ud800"}'],
    [JSON.parse('{"__proto__":1}') as Record<string, unknown>, '{"__proto__":1}'],
  ];
  for (const [claims, want] of rows) {
    assert.equal(new Prepared({ profile: "p", claims }).message.claims, want);
  }
});

test("what cannot be written is refused, and not mended", () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const rows: [string, object][] = [
    ["claims", { claims: { n: NaN } }],
    ["claims", { claims: { n: Infinity } }],
    ["claims", { claims: { list: [undefined] } }],
    ["claims", { claims: { list: new Array(2) } }],
    ["claims", { claims: { f: () => 1 } }],
    ["claims", { claims: { m: new Map([["a", 1]]) } }],
    ["claims", { claims: circle }],
    ["claims", { claims: '{"a":"\ud800"}' }],
    ["claims", { claims: Uint8Array.of(0x7b, 0xff, 0x7d) }],
    ["profile", { profile: "\udc00" }],
    ["ttl", { ttlMs: NaN }],
    ["ttl", { ttlMs: Infinity }],
    ["min_remaining", { minRemainingMs: -1e300 }],
  ];
  for (const [field, options] of rows) {
    assert.throws(
      () => new Prepared({ profile: "p", ...options }),
      (error) =>
        error instanceof JotsmithError && error.reason === "INVALID_REQUEST" && error.violations[0]?.field === field,
      field,
    );
  }
});

test("durations are exact", () => {
  const { ttl, minRemaining } = new Prepared({ profile: "p", ttlMs: 1_500, minRemainingMs: -250 }).message;
  assert.deepEqual([ttl?.seconds, ttl?.nanos], [1n, 500_000_000]);
  assert.deepEqual([minRemaining?.seconds, minRemaining?.nanos], [0n, -250_000_000]);
  assert.equal(new Prepared({ profile: "p", ttlMs: 0 }).message.ttl, undefined);
});

test("claims that differ in form alone share a place", () => {
  const rows = [
    ["", "{}", " { } "],
    ['{"a":1,"b":[1,{"d":null,"c":true}]}', '{ "b" : [1,{"c":true,"d":null}],\n"a":1}'],
    ['{"a":"é"}', '{"a":"\\u00e9"}', '{"\\u0061":"\\u00E9"}'],
    ['{"a":"/\\\\\\""}', '{"a":"\\/\\u005c\\u0022"}'],
    ['{"a":"\u{1f600}"}', '{"a":"\\ud83d\\ude00"}'],
  ];
  for (const texts of rows) {
    assert.equal(new Set(texts.map(canonical)).size, 1, texts[0]);
  }
});

test("no others do", () => {
  const deep = (n: number) => `{"a":${"[".repeat(n)}${"]".repeat(n)}}`;
  const texts = [
    "{}",
    '{"a":1}',
    '{"a":1,}',
    '{"a":1,"a":1}',
    '{"a":2,"a":1}',
    '{"a":1,"\\u0061":1}',
    '{"a":1} x',
    '{"a":1}{}',
    '{"a":"1"}',
    '{"a":1.0}',
    '{"a":1e0}',
    '{"a":[1]}',
    '{"a":[[1]]}',
    '{"a":[1,2]}',
    '{"a":[2,1]}',
    '{"a":9007199254740993}',
    '{"a":9007199254740992}',
    '{"a":"\\ud800"}',
    '{"a":"\\udc00"}',
    '{"a":"\\ufffd"}',
    '{"A":1}',
    "null",
    "[]",
    '"a"',
    "{",
    "[".repeat(10_000),
    '{"__proto__":1}',
    '{"a":-0}',
    '{"a":0}',
    '{"a":"b,c"}',
    '{"a":["b","c"]}',
    '\ufeff{"a":1}',
    '{"a":\u00a01}',
    deep(14),
    deep(40),
    `${deep(40)} `,
  ];
  const seen = new Map<string, string>();
  for (const text of texts) {
    const form = canonical(text);
    assert.equal(seen.get(form), undefined, `${text} shares a place`);
    seen.set(form, text);
  }
});

test("a place has a profile and a ttl", () => {
  const place = (profile: string, ttlMs?: number) => new Prepared({ profile, ttlMs }).place;
  assert.equal(place("p"), place("p", 0));
  assert.equal(new Set([place("p"), place("q"), place("p", 1000), place("p", 2000)]).size, 4);
  assert.equal(new Prepared({ profile: "p", minRemainingMs: 1 }).place, place("p"));
});
