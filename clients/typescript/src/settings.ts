import { Bearer } from "./bearer.js";
import { SettingError } from "./errors.js";
import { readTLS, type TLSFiles } from "./files.js";

/** Where connect looks for a server that nobody names. */
export const defaultAddress = "unix:///run/jotsmith/jotsmith.sock";

/**
 * How a Client reaches its server and what it keeps. What is not set, or empty, comes
 * from the environment, where a variable is named.
 */
export interface Settings {
  /**
   * PEM file of the CAs that the server's certificate must chain to (JOTSMITH_TLS_CA);
   * the system's where it is not set.
   */
  readonly tlsCA?: string | undefined;
  /** PEM file of the client certificate (JOTSMITH_TLS_CERT). */
  readonly tlsCert?: string | undefined;
  /** PEM file of its key (JOTSMITH_TLS_KEY). */
  readonly tlsKey?: string | undefined;
  /** The name in the server's certificate, if it is not HOST (JOTSMITH_TLS_SERVER_NAME). */
  readonly tlsServerName?: string | undefined;
  /**
   * For a server at 127.0.0.1:PORT or [::1]:PORT that has no TLS there: whoever listens
   * there is taken for the server (JOTSMITH_PLAINTEXT_LOOPBACK=true).
   */
  readonly plaintextLoopback?: boolean | undefined;
  /** A token that makes the caller known, as of Kubernetes or a CI system. */
  readonly bearer?: string | undefined;
  /** A file with one, read again for each call (JOTSMITH_BEARER_FILE). */
  readonly bearerFile?: string | undefined;
  /** How many milliseconds a call takes at most, retries included; 10 000 if not set. */
  readonly timeoutMs?: number | undefined;
  /** How many different requests have their tokens kept; 1024 if not set. */
  readonly maxKept?: number | undefined;
}

/**
 * How the server is reached: `name` is that in its certificate, and `authority` what HTTP/2
 * calls it, if not HOST:PORT.
 */
export type Transport =
  | { readonly kind: "unix"; readonly target: string }
  | { readonly kind: "plaintext"; readonly target: string }
  | {
      readonly kind: "tls";
      readonly target: string;
      readonly files: TLSFiles;
      readonly name: string;
      readonly authority: string | undefined;
    };

/** Settings that hold together, with what the environment says. */
export interface Resolved {
  readonly transport: Transport;
  readonly bearer: Bearer | undefined;
  readonly timeoutMs: number;
  readonly maxKept: number;
}

/** Resolves an address and settings. It fails with a SettingError. */
export function resolve(address: string | undefined, settings: Settings, env: NodeJS.ProcessEnv): Resolved {
  const at = address || env.JOTSMITH_ADDRESS || defaultAddress;
  const filled = fill(settings, at.startsWith("unix:") ? withoutTLS(env) : env);
  const transport = transportOf(at, filled);
  return {
    transport,
    bearer: filled.bearerFile
      ? Bearer.ofFile(filled.bearerFile)
      : filled.bearer
        ? Bearer.ofText(filled.bearer)
        : undefined,
    timeoutMs: positive("timeoutMs", settings.timeoutMs, 10_000),
    maxKept: positive("maxKept", settings.maxKept, 1024),
  };
}

/** A Unix socket takes nothing of TLS, which may be there for another server. */
function withoutTLS(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("JOTSMITH_TLS_")));
}

function fill(settings: Settings, env: NodeJS.ProcessEnv): Settings {
  const pair =
    settings.tlsCert || settings.tlsKey ? settings : { tlsCert: env.JOTSMITH_TLS_CERT, tlsKey: env.JOTSMITH_TLS_KEY };
  return {
    tlsCA: settings.tlsCA || env.JOTSMITH_TLS_CA || undefined,
    tlsCert: pair.tlsCert || undefined,
    tlsKey: pair.tlsKey || undefined,
    tlsServerName: settings.tlsServerName || env.JOTSMITH_TLS_SERVER_NAME || undefined,
    plaintextLoopback: settings.plaintextLoopback === true || env.JOTSMITH_PLAINTEXT_LOOPBACK === "true",
    bearer: settings.bearer || undefined,
    bearerFile: settings.bearerFile || (settings.bearer ? undefined : env.JOTSMITH_BEARER_FILE) || undefined,
  };
}

function transportOf(address: string, settings: Settings): Transport {
  const { tlsCA: ca, tlsCert: cert, tlsKey: key, tlsServerName: serverName } = settings;
  const anyTLS = ca !== undefined || cert !== undefined || key !== undefined || serverName !== undefined;
  const anyBearer = settings.bearer !== undefined || settings.bearerFile !== undefined;
  if (settings.plaintextLoopback === true) {
    return { kind: "plaintext", target: loopback(address, anyTLS, anyBearer) };
  }
  if (address.startsWith("unix:")) {
    if (anyTLS) {
      throw new SettingError(`the TLS settings are for HOST:PORT; ${address} is a Unix socket, which has no TLS`);
    }
    return { kind: "unix", target: address };
  }
  const [, name, ip] = /^(?:([^:[\]/]+)|\[([0-9A-Fa-f:.]+)\]):[0-9]+$/.exec(address) ?? [];
  const host = name ?? ip;
  if (host === undefined) {
    throw new SettingError(`address ${JSON.stringify(address)} is neither unix:///PATH nor HOST:PORT`);
  }
  const files = { ca, cert, key };
  readTLS(files); // what is wrong is better said before anybody is called
  if (cert === undefined && !anyBearer) {
    throw new SettingError(
      "a server at HOST:PORT wants a client certificate or a token; set tlsCert and tlsKey, or bearerFile",
    );
  }
  return { kind: "tls", target: `dns:///${address}`, files, name: serverName ?? host, authority: serverName };
}

/** The target of a server in plaintext, which is on this machine by its digits alone. */
function loopback(address: string, anyTLS: boolean, anyBearer: boolean): string {
  const found = /^(?:(127(?:\.(?:0|[1-9][0-9]{0,2})){3})|(\[::1\])):([0-9]{1,5})$/.exec(address);
  const [, v4, v6, port] = found ?? [];
  if (Number(port) > 65535 || port === undefined || v4?.split(".").some((byte) => Number(byte) > 255) === true) {
    throw new SettingError(`plaintext is for 127.0.0.1:PORT or [::1]:PORT, not for ${JSON.stringify(address)}`);
  }
  if (anyTLS) {
    throw new SettingError("the TLS settings and plaintext exclude each other");
  }
  if (anyBearer) {
    throw new SettingError("a bearer is not sent in plaintext");
  }
  return v6 === undefined ? `ipv4:${address}` : `ipv6:${address}`;
}

function positive(name: string, value: number | undefined, otherwise: number): number {
  const filled = value || otherwise;
  if (!(filled > 0)) {
    throw new SettingError(`${name} is not above 0: ${filled}`);
  }
  return filled;
}
