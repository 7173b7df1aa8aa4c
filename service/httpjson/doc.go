// Package httpjson answers the unary calls of gRPC services over HTTP/1.1, for
// callers who have no gRPC: `POST /PACKAGE.SERVICE/METHOD` with the request message
// in ProtoJSON, answered with the response message in ProtoJSON, or with an error in
// the form of AIP-193. A call takes the same way as over gRPC: the identity of its
// connection, its bearer and the interceptor, and then the service's own handler.
//
// It is strict. A body has a Content-Type of application/json, no unknown field and
// no field twice. A request that a web page sends says so by its Origin, and is
// refused unless that is listed: what makes a caller known on a socket or by a
// certificate is his machine's, and not the page's.
//
// https://protobuf.dev/programming-guides/json/ and https://google.aip.dev/193
package httpjson
