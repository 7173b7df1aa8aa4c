// Package rotation decides which version of a key signs, and which are
// published. A version goes one way:
//
//	next      published, so that verifiers get to know it; signs nothing
//	active    signs
//	retired   published, while a token that it signed can be valid
//	gone      neither
//
// No verifier that fetches the published keys at least as often as the
// configuration says (verifier_cache) ever meets a token whose kid it could not
// know: a version signs only after it has been published for so long, and is
// published until the last of its tokens has ended, which the ledger knows.
//
// The rules are pure functions of what is remembered, what is configured and
// what is known at a time (rules.go, plan.go). The Keeper applies them while the
// server runs, and a Store keeps what is remembered, for one server or several.
package rotation
