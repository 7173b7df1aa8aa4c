/**
 * Gets JWTs from a Jotsmith server, so that the program that needs one holds no private
 * key.
 *
 *     const client = connect(); // the address in JOTSMITH_ADDRESS
 *     const token = await client.token("asc");
 *     headers.set("Authorization", `Bearer ${token.reveal()}`);
 *
 * A Client keeps a token until the server says that a new one is due, asks once however
 * many wait, and outlives a server that is away for a while. What it does exactly, in this
 * language and all others, is in docs/clients.md.
 *
 * Most programs need less than `token`: `fetch` and `channelCredentials` put tokens where
 * they go.
 */
export { Client, connect, type Decision, type Explanation, type Key, type Result } from "./client.js";
export { JotsmithError, SettingError, type Code, type Violation } from "./errors.js";
export type { RequestOptions, TokenOptions, TokenRequest } from "./request.js";
export type { CallOptions } from "./scope.js";
export { defaultAddress, type Settings } from "./settings.js";
export { Token } from "./token.js";
