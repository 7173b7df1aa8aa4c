import { JotsmithError, SettingError, type Key, type Token } from "@jotsmith/client";

/** The language's own errors that a JotsmithError can be caught as. */
const natives: Record<string, string> = { TimeoutError: "deadline", AbortError: "cancelled" };

export function tokenOf(token: Token): object {
  return {
    jwt: token.reveal(),
    kid: token.kid,
    reused: token.reused,
    one_time: token.oneTime,
    expire_time: token.expireTime?.toISOString(),
    refresh_time: token.refreshTime?.toISOString(),
  };
}

export function keyOf({ kid, algorithm, jwk, profiles }: Key): object {
  return { kid, algorithm, jwk, profiles };
}

export function problemOf(error: unknown): object {
  if (error instanceof JotsmithError) {
    const { code, reason, message, retryable, retryAfterMs, violations } = error;
    return {
      code,
      reason,
      message,
      retryable,
      retry_after: retryAfterMs,
      violations,
      native: natives[error.name] ?? "",
    };
  }
  if (error instanceof SettingError) {
    return { native: "setting", message: error.message };
  }
  return error instanceof Error
    ? { native: error.constructor.name, message: error.message }
    : { native: typeof error, message: String(error) };
}
