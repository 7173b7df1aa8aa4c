import { inspect } from "node:util";

import {
  connect,
  type CallOptions,
  type Client,
  type RequestOptions,
  type Token,
  type TokenRequest,
} from "@jotsmith/client";

import { keyOf, problemOf, tokenOf } from "./answers.js";
import type { Command } from "./command.js";
import { callGrpc, callHttp } from "./plugs.js";
import { jose, verify } from "./verify.js";

type Answer = Record<string, unknown>;

/** Runs commands, all at the same time. */
export class Driver {
  readonly #clients = new Map<string, Client>();
  readonly #running = new Map<number, AbortController>();

  constructor(private readonly write: (answer: object) => void) {}

  /** Begins a command, which is answered when it is done. */
  begin(command: Command): void {
    const { id } = command;
    const controller = new AbortController();
    this.#running.set(id, controller);
    this.run(command, controller.signal)
      .catch((error: unknown) => ({ error: problemOf(error) }))
      .then((answer) => {
        this.#running.delete(id);
        this.write({ id, ...answer });
      }, fail);
  }

  close(): void {
    for (const client of this.#clients.values()) {
      client.close();
    }
  }

  private async run(command: Command, signal: AbortSignal): Promise<Answer> {
    switch (command.op) {
      case "hello":
        return {
          language: "typescript",
          library: "@jotsmith/client 0.1.0",
          jose: await jose(),
          http: ["fetch"],
          grpc: ["channelCredentials"],
        };
      case "connect":
        this.#clients.set(
          command.need("client"),
          connect(command.text("address"), settingsOf(command.object("settings"))),
        );
        return {};
      case "cancel":
        this.#running.get(command.number("of") ?? -1)?.abort();
        return {};
      case "verify":
        return verify(command.need("jwt"), command.need("jwk"));
      default:
        return this.ask(command, this.client(command), { signal, timeoutMs: command.number("timeout") });
    }
  }

  private client(command: Command): Client {
    const name = command.need("client");
    const client = this.#clients.get(name);
    if (client === undefined) {
      throw new Error(`no client ${name}`);
    }
    return client;
  }

  private async ask(command: Command, client: Client, call: CallOptions): Promise<Answer> {
    switch (command.op) {
      case "close":
        client.close();
        return {};
      case "token": {
        const callers = Array.from({ length: command.number("callers") ?? 1 }, () =>
          client.token(command.need("profile"), { ...requestOf(command), ...call }),
        );
        return { tokens: (await Promise.all(callers)).map(tokenOf) };
      }
      case "batch": {
        const results = await client.batch(command.objects("requests").map(itemOf), call);
        return {
          results: results.map(({ token, error }) =>
            token === undefined ? { error: problemOf(error) } : { token: tokenOf(token) },
          ),
        };
      }
      case "watch":
        return this.watch(command, client, call);
      case "explain": {
        const { grant, refusals, header, claims, ttlMs } = await client.explain(command.need("profile"), {
          ...requestOf(command),
          ...call,
        });
        return { grant, refusals: refusals.map(problemOf), header, claims, ttl: ttlMs };
      }
      case "keys":
        return { keys: (await client.keys(command.text("profile"), call)).map(keyOf) };
      case "invalidate":
        client.invalidate(command.need("profile"));
        return {};
      case "show":
        return { shown: shown(await client.token(command.need("profile"), { ...requestOf(command), ...call })) };
      case "http":
        return callHttp(command, client, call.signal);
      case "grpc":
        return callGrpc(command, client);
      default:
        throw new Error(`no op ${command.op}`);
    }
  }

  private async watch(command: Command, client: Client, call: CallOptions): Promise<Answer> {
    try {
      for await (const token of client.watch(command.need("profile"), { ...requestOf(command), ...call })) {
        this.write({ id: command.id, token: tokenOf(token) });
      }
    } catch (error) {
      return { end: true, error: problemOf(error) };
    }
    return { end: true };
  }
}

function settingsOf(command: Command): object {
  const names: Record<string, string> = {
    tls_ca: "tlsCA",
    tls_cert: "tlsCert",
    tls_key: "tlsKey",
    tls_server_name: "tlsServerName",
    plaintext_loopback: "plaintextLoopback",
    bearer: "bearer",
    bearer_file: "bearerFile",
    timeout: "timeoutMs",
  };
  return Object.fromEntries(command.entries().map(([name, value]) => [names[name] ?? name, value]));
}

function requestOf(command: Command): RequestOptions {
  return {
    claims: command.value("claims") as RequestOptions["claims"],
    ttlMs: command.number("ttl"),
    minRemainingMs: command.number("min_remaining"),
  };
}

function itemOf(command: Command): TokenRequest {
  return { profile: command.need("profile"), ...requestOf(command) };
}

/** A value in all the ways in which the language prints it. */
function shown(value: Token): string {
  const ways = [
    String(value),
    `${value.toString()} and ${value as unknown as string}`,
    JSON.stringify({ value }),
    inspect(value),
    inspect(value, { showHidden: true, customInspect: false, depth: null, getters: true }),
    inspect({ value }, { depth: null }),
    inspect(structuredClone(value), { showHidden: true, depth: null }),
    Object.entries(value).join(),
  ];
  return ways.join("\n");
}

/** Ends the program: an answer could not be written. */
function fail(error: unknown): never {
  process.stderr.write(`driver: ${String(error)}\n`);
  process.exit(1);
}
