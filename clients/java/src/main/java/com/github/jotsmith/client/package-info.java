/**
 * Gets JWTs from a Jotsmith server, so that the program that needs one holds no private key.
 *
 * <pre>{@code
 * try (JotsmithClient client = JotsmithClient.connect()) { // the address in JOTSMITH_ADDRESS
 *     Token token = client.token("asc");
 *     request.header("Authorization", "Bearer " + token.reveal());
 * }
 * }</pre>
 *
 * <p>A client keeps a token until the server says that a new one is due, asks once however many
 * wait, and outlives a server that is away for a while. What it does exactly, in this language and
 * all others, is in docs/clients.md of Jotsmith.
 *
 * <p>Most programs need less than {@link com.github.jotsmith.client.JotsmithClient#token(String)}:
 * {@code httpClient}, {@code callCredentials} and {@link
 * com.github.jotsmith.client.JotsmithInterceptor} put tokens where they go.
 */
package com.github.jotsmith.client;
