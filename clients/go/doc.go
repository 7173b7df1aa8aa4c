// Package jotsmith gets JWTs from a Jotsmith server, so that the program that
// needs one holds no private key.
//
//	client, err := jotsmith.Connect("") // the address in JOTSMITH_ADDRESS
//	token, err := client.Token(ctx, "asc")
//	request.Header.Set("Authorization", "Bearer "+token.Reveal())
//
// A Client keeps a token until the server says that a new one is due, asks once
// however many wait, and outlives a server that is away for a while. What it
// does exactly, in this language and all others, is in docs/clients.md.
//
// Most programs need less than Token: Transport, TokenSource and
// PerRPCCredentials put tokens where they go.
package jotsmith
