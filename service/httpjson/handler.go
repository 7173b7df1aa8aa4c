package httpjson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	_ "embed"
)

// MaxBody is the longest body of a request, in bytes; gRPC messages have the same
// limit.
const MaxBody = 64 << 10

// Document is the OpenAPI 3.1 document of the services, which GET /openapi.json
// answers with.
//
//go:embed openapi.json
var Document []byte

// Config is what New needs.
type Config struct {
	// Services are the gRPC services with what answers them.
	Services []Service
	// Intercept stands ahead of every call, as over gRPC.
	Intercept grpc.UnaryServerInterceptor
	// Origins are those of the web pages that may call, as in https://example.org.
	Origins []string
	// Domain is that of the ErrorInfo of what is refused here.
	Domain string
}

// Service is one gRPC service.
type Service struct {
	Desc *grpc.ServiceDesc
	Impl any
}

// Handler answers requests. It is safe for concurrent use.
type Handler struct {
	cfg     Config
	methods map[string]method // by their path
	streams map[string]bool
}

type method struct {
	call grpc.MethodHandler
	impl any
}

// New returns a Handler, for connections that Listen accepts.
func New(cfg Config) *Handler {
	h := &Handler{cfg: cfg, methods: map[string]method{}, streams: map[string]bool{}}
	for _, s := range cfg.Services {
		for _, m := range s.Desc.Methods {
			h.methods["/"+s.Desc.ServiceName+"/"+m.MethodName] = method{m.Handler, s.Impl}
		}
		for _, m := range s.Desc.Streams {
			h.streams["/"+s.Desc.ServiceName+"/"+m.StreamName] = true
		}
	}
	return h
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if origins := r.Header.Values("Origin"); len(origins) > 0 {
		header.Add("Vary", "Origin")
		if len(origins) != 1 || !slices.Contains(h.cfg.Origins, origins[0]) {
			h.refuse(w, http.StatusForbidden, codes.PermissionDenied, "", "requests of web pages are taken from the origins in the configuration alone")
			return
		}
		header.Set("Access-Control-Allow-Origin", origins[0])
		header.Set("Access-Control-Expose-Headers", "Retry-After")
	}
	m, known := h.methods[r.URL.Path]
	switch {
	case r.URL.Path == "/openapi.json" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		header.Set("Content-Type", "application/json")
		_, _ = w.Write(Document) // a caller who has gone does not read it
	case h.streams[r.URL.Path]:
		h.refuse(w, http.StatusNotImplemented, codes.Unimplemented, "", "this is a stream; call it over gRPC")
	case !known:
		h.refuse(w, http.StatusNotFound, codes.Unimplemented, "", "there is no such method; /openapi.json lists them")
	case r.Method == http.MethodOptions:
		header.Set("Access-Control-Allow-Methods", http.MethodPost)
		header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		header.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodPost:
		header.Set("Allow", http.MethodPost)
		h.refuse(w, http.StatusMethodNotAllowed, codes.Unimplemented, "", "calls are made with POST")
	default:
		h.call(w, r, m)
	}
}

// call makes one call.
func (h *Handler) call(w http.ResponseWriter, r *http.Request, m method) {
	if kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" ||
		!strings.EqualFold(orUTF8(parameters["charset"]), "utf-8") || r.Header.Get("Content-Encoding") != "" {
		h.refuse(w, http.StatusUnsupportedMediaType, codes.InvalidArgument, "INVALID_REQUEST", "a request is application/json in UTF-8, and not compressed")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			h.refuse(w, http.StatusRequestEntityTooLarge, codes.ResourceExhausted, "", "a request has at most 64 KiB")
		}
		return // else nobody is there to be told
	}
	ctx := identified(r.Context())
	if values := r.Header.Values("Authorization"); len(values) > 0 {
		ctx = metadata.NewIncomingContext(ctx, metadata.MD{"authorization": values})
	}
	answer, err := m.call(m.impl, ctx, func(request any) error { return decode(body, request) }, h.cfg.Intercept)
	if err != nil {
		if wrong, ok := errors.AsType[*malformed](err); ok {
			h.refuse(w, http.StatusBadRequest, codes.InvalidArgument, "INVALID_REQUEST", wrong.Error())
			return
		}
		fail(w, httpStatus(status.Code(err)), status.Convert(err))
		return
	}
	message, ok := answer.(proto.Message)
	text, err := compactJSON(message)
	if err != nil || !ok {
		fail(w, http.StatusInternalServerError, status.New(codes.Internal, "internal error"))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // a caller who has gone does not read it
}

func orUTF8(charset string) string {
	if charset == "" {
		return "utf-8"
	}
	return charset
}

// malformed is a body that is not the message's.
type malformed struct{ reason string }

func (m *malformed) Error() string { return m.reason }

// decode reads a message. The error names a field and a place, and no value.
func decode(body []byte, into any) error {
	message, ok := into.(proto.Message)
	if !ok {
		return fmt.Errorf("a %T is no message", into)
	}
	if err := protojson.Unmarshal(body, message); err != nil {
		name := message.ProtoReflect().Descriptor().FullName()
		return &malformed{fmt.Sprintf("the body is not the JSON of a %s%s", name, where(body, err))}
	}
	return nil
}

// where says what of protojson's error can be told: the name of an unknown field,
// or the place. Its other texts repeat values.
func where(body []byte, err error) string {
	if len(bytes.TrimSpace(body)) == 0 {
		return ": it is empty"
	}
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	if at := strings.Index(text, "(line "); at >= 0 {
		if end := strings.IndexByte(text[at:], ')'); end >= 0 {
			place := text[at+1 : at+end]
			if field, unknown := strings.CutPrefix(text[at+end+1:], ": unknown field "); unknown {
				return fmt.Sprintf(": unknown field %s (%s)", field, place)
			}
			if field, twice := strings.CutPrefix(text[at+end+1:], ": duplicate field "); twice {
				return fmt.Sprintf(": duplicate field %s (%s)", field, place)
			}
			return ": " + place
		}
	}
	return ""
}

// identified gives the service the connection's identity, as gRPC does.
func identified(ctx context.Context) context.Context {
	conn, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return ctx // which makes the caller nobody
	}
	return peer.NewContext(ctx, &peer.Peer{Addr: conn.RemoteAddr(), LocalAddr: conn.LocalAddr(), AuthInfo: conn.identity()})
}

// refuse answers what never became a call.
func (h *Handler) refuse(w http.ResponseWriter, code int, grpcCode codes.Code, reason, message string) {
	st := status.New(grpcCode, message)
	if reason != "" {
		if detailed, err := st.WithDetails(protoadapt.MessageV1Of(&errdetails.ErrorInfo{Reason: reason, Domain: h.cfg.Domain})); err == nil {
			st = detailed
		}
	}
	fail(w, code, st)
}

// compactJSON is a message in ProtoJSON. Its spaces are taken out, which protojson
// varies.
func compactJSON(message proto.Message) ([]byte, error) {
	text, err := protojson.Marshal(message)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, text)
	return compact.Bytes(), err
}
