// Package pkcs11 signs with ECDSA P-256 keys that lie in an HSM, reached
// through the vendor's PKCS#11 module.
//
// # Backend URI
//
// RFC 7512, strict: an unknown or repeated attribute is refused.
//
//	pkcs11:token=jotsmith;serial=0123?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/jotsmith/pin
//
// The path says which token: token and serial (at least one of the two),
// manufacturer, model, slot-id. The query says how to reach it:
//
//	module-path    the module's file; required
//	pin-source     the file with the user PIN, read by nobody else; required
//	max-sessions   sessions held at most; 8 unless told
//	serialize      true for a module that is not thread-safe: one call at a time
//	init-args      text that the module wants in C_Initialize (pReserved)
//	pin-state      directory in which refused PINs are remembered across restarts
//	isolate        true runs the module in a child process
//
// # Key id
//
// The RFC 7512 attributes of the private key, without a scheme: "object=NAME"
// (CKA_LABEL), "id=%01%02" (CKA_ID), or both joined with a semicolon.
//
// # Least permissions
//
// The user PIN of a token that holds the private keys with CKA_SIGN, and their
// public halves. Nothing is created, changed or deleted on the token; all
// sessions are read-only.
//
// # Recovery
//
// A dead session is replaced, a lost login is made again, and when the device
// itself fails the module is finalised and initialised again until it answers.
// None of it needs a restart. A PIN that the token refused is never tried
// again, and no login is tried when one more mistake would lock the PIN.
package pkcs11

// Scheme is the scheme of this backend's URIs.
const Scheme = "pkcs11"
