// Package service is the gRPC face of Jotsmith. A request walks through it as
// its types say:
//
//	connection -> authn.Caller    who asks, worked out in the handshake
//	           -> policy.Grant    may he have a token of this profile
//	           -> claims.Set      what stands in it, by the profile's rules
//	           -> signer          the key's store signs, the signer verifies
//	           -> token.Compact   the finished JWT
//
// Each arrow is a package and mint.go is all of them in a row. There is no
// other way to the signer: it takes only a Set, a Set is made only from a
// Grant, and only policy makes a Grant. errors.go alone knows gRPC's codes.
package service
