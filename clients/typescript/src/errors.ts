import { fromBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import { status as codes, type ServiceError } from "@grpc/grpc-js";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema, type Status } from "./gen/google/rpc/status_pb.js";
import { milliseconds } from "./times.js";

/** The name of a gRPC code, as in `UNAVAILABLE`. */
export type Code = keyof typeof codes;

/** What is wrong with one field of a request. */
export interface Violation {
  /** As in `ttl` or `claims.sub`. */
  readonly field: string;
  readonly description: string;
}

/** What an error is made of. */
interface Facts {
  code: Code;
  reason: string;
  message: string;
  retryAfterMs: number;
  violations: readonly Violation[];
  cause?: unknown;
}

/** The names of the language's own errors. */
const natives: Partial<Record<Code, string>> = { DEADLINE_EXCEEDED: "TimeoutError", CANCELLED: "AbortError" };

/**
 * Why there is no answer. Every error of a call of a Client is one.
 *
 * Where a deadline has passed its `name` is `TimeoutError`, and where the call was given
 * up `AbortError`, as of the language's own errors for that.
 */
export class JotsmithError extends Error {
  /** gRPC's. */
  readonly code: Code;
  /**
   * The server's, one of docs/errors.md. Empty where the server was not reached, and then
   * there is nothing but the code.
   */
  readonly reason: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /**
   * After how many milliseconds the server asks to be asked again. 0 means that it did
   * not say.
   */
  readonly retryAfterMs: number;
  /** What is wrong with the request. */
  readonly violations: readonly Violation[];

  /** @internal */
  constructor(facts: Facts) {
    super(facts.message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = facts.code;
    this.reason = facts.reason;
    this.retryable =
      facts.code === "UNAVAILABLE" || facts.code === "RESOURCE_EXHAUSTED" || facts.code === "DEADLINE_EXCEEDED";
    this.retryAfterMs = facts.retryAfterMs;
    this.violations = facts.violations;
    const name = natives[facts.code];
    if (name !== undefined) {
      Object.defineProperty(this, "name", { value: name, configurable: true, writable: true });
    }
  }

  static {
    this.prototype.name = "JotsmithError";
  }
}

/** A wrong setting, or a file of a setting that cannot be read. */
export class SettingError extends Error {
  static {
    this.prototype.name = "SettingError";
  }
}

/** An error that has a code and a message alone. */
export function plain(code: Code, message: string): JotsmithError {
  return new JotsmithError({ code, reason: "", message, retryAfterMs: 0, violations: [] });
}

/** The error of a deadline that has passed here. */
export function expired(): JotsmithError {
  return new JotsmithError({
    code: "DEADLINE_EXCEEDED",
    reason: "DEADLINE_EXCEEDED",
    message: "the deadline has passed",
    retryAfterMs: 0,
    violations: [],
  });
}

/** The error of a call that its caller has given up, and why he did. */
export function cancelled(cause?: unknown): JotsmithError {
  return new JotsmithError({
    code: "CANCELLED",
    reason: "CANCELLED",
    message: "the call was given up",
    retryAfterMs: 0,
    violations: [],
    cause,
  });
}

/** The error of a Client that is closed. */
export function closed(): JotsmithError {
  return plain("CANCELLED", "the client is closed");
}

/** The error of a request that is not sent. */
export function refused(field: string, description: string): JotsmithError {
  return new JotsmithError({
    code: "INVALID_ARGUMENT",
    reason: "INVALID_REQUEST",
    message: `request refused: ${field} ${description}`,
    retryAfterMs: 0,
    violations: [{ field, description }],
  });
}

/** The error that a status of the server's says. */
export function fromStatus(status: Status): JotsmithError {
  const facts: Facts = {
    code: codeName(status.code),
    reason: "",
    message: status.message,
    retryAfterMs: 0,
    violations: [],
  };
  for (const any of status.details) {
    facts.reason = detail(any, ErrorInfoSchema)?.reason ?? facts.reason;
    const delay = detail(any, RetryInfoSchema)?.retryDelay;
    if (delay !== undefined) {
      facts.retryAfterMs = Math.max(milliseconds(delay), 0);
    }
    const violations = detail(any, BadRequestSchema)?.fieldViolations;
    facts.violations = violations?.map(({ field, description }) => ({ field, description })) ?? facts.violations;
  }
  return new JotsmithError(facts);
}

/** The error that gRPC says, with the server's details where it has sent some. */
export function fromService(error: ServiceError): JotsmithError {
  const [encoded] = error.metadata.get("grpc-status-details-bin");
  if (encoded instanceof Buffer) {
    const status = decoded(() => fromBinary(StatusSchema, encoded));
    if (status !== undefined) {
      return fromStatus(status);
    }
  }
  const code = codeName(error.code);
  // Without details it is gRPC's own, which counts the same time as is counted here.
  return code === "DEADLINE_EXCEEDED" ? expired() : plain(code, error.details.replace(/ Resolution note: $/, ""));
}

/** The error of a call, whatever was thrown. */
export function known(thrown: unknown): JotsmithError {
  if (thrown instanceof JotsmithError) {
    return thrown;
  }
  const message = thrown instanceof Error ? thrown.message : "unknown";
  return new JotsmithError({ code: "INTERNAL", reason: "", message, retryAfterMs: 0, violations: [], cause: thrown });
}

/** Whether the server cannot answer now, which leaves open what it would say. */
export function away(error: JotsmithError): boolean {
  return error.retryable;
}

/** A detail of an error, if it is of one kind and can be read. */
function detail<Desc extends DescMessage>(any: Any, schema: Desc): MessageShape<Desc> | undefined {
  return decoded(() => anyUnpack(any, schema));
}

/** What cannot be decoded is left out: the code alone says enough. */
function decoded<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    return undefined;
  }
}

function codeName(code: number): Code {
  return (codes[code] as Code | undefined) ?? "UNKNOWN";
}
