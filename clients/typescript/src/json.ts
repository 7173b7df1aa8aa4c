import { refused } from "./errors.js";

/** Writes values of the language as JSON, each number as exactly as it is. */
export function encode(value: unknown): string {
  return encodeAt(value, "", new Set());
}

function encodeAt(value: unknown, name: string, around: Set<object>): string {
  const plain = hasToJSON(value) ? value.toJSON(name) : value;
  switch (typeof plain) {
    case "string":
    case "boolean":
      return JSON.stringify(plain);
    case "bigint":
      return plain.toString();
    case "number":
      return encodeNumber(plain);
    case "object":
      return plain === null ? "null" : encodeObject(plain, around);
    default:
      throw refused("claims", `cannot be written as JSON: ${typeof plain}`);
  }
}

function encodeNumber(value: number): string {
  if (!Number.isFinite(value)) {
    throw refused("claims", `cannot be written as JSON: ${value}`);
  }
  if (Object.is(value, -0)) {
    return "-0";
  }
  // JSON.stringify fills the digits that it takes for meaningless with zeros.
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? BigInt(value).toString() : JSON.stringify(value);
}

function encodeObject(value: object, around: Set<object>): string {
  if (around.has(value)) {
    throw refused("claims", "cannot be written as JSON: it contains itself");
  }
  around.add(value);
  const text = Array.isArray(value)
    ? `[${Array.from(value, (item, i) => encodeAt(item, String(i), around)).join(",")}]`
    : `{${members(value, around).join(",")}}`;
  around.delete(value);
  return text;
}

function members(value: object, around: Set<object>): string[] {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    // A Map, for one, would be written as the empty object.
    throw refused("claims", `cannot be written as JSON: ${value.constructor.name}`);
  }
  return Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .map(([name, member]) => `${JSON.stringify(name)}:${encodeAt(member, name, around)}`);
}

function hasToJSON(value: unknown): value is { toJSON(name: string): unknown } {
  return typeof value === "object" && value !== null && "toJSON" in value && typeof value.toJSON === "function";
}
