package kmsfake

import (
	"net"
	"net/http"
	"time"
)

// A Fault spoils requests. Its zero value spoils nothing; several fields may
// be set, and Delay and Hold come before the others.
type Fault struct {
	Operation string // one of the operations; empty for all
	Times     int    // how many requests; 0 for all until Clear

	Delay   time.Duration   // answers so much later
	Hold    <-chan struct{} // answers once it is closed
	Hang    bool            // answers nothing until the caller leaves or the server closes
	Reset   bool            // resets the connection
	Status  int             // answers an error of this HTTP status, Code and Message
	Code    string
	Message string
	Body    string // answers this text with the status 200

	LostAnswer bool // does what is asked, and resets the connection in place of the answer

	// Lies in an answer that is otherwise right.
	KeyID       string                  // another key
	Algorithm   string                  // another signing algorithm
	KeyUsage    string                  // another key usage (GetPublicKey)
	WrongDigest bool                    // a signature over something else (Sign)
	Bytes       func(der []byte) []byte // the signature or the public key, changed
}

// Throttle answers ThrottlingException to the next n Sign requests, or to all
// for 0.
func Throttle(n int) Fault {
	return Fault{Operation: Sign, Times: n, Status: http.StatusBadRequest, Code: "ThrottlingException", Message: "Rate exceeded"}
}

// InternalError answers KMSInternalException to the next n requests, or to all
// for 0.
func InternalError(n int) Fault {
	return Fault{Times: n, Status: http.StatusInternalServerError, Code: "KMSInternalException"}
}

// AccessDenied answers AccessDeniedException to the next n requests, or to all
// for 0.
func AccessDenied(n int) Fault {
	return Fault{Times: n, Status: http.StatusBadRequest, Code: "AccessDeniedException", Message: "User is not authorized"}
}

// Inject adds a fault. Requests take the oldest fault that is meant for them.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Clear takes away all faults, but not those that hold a request already.
func (s *Server) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// before does what comes before the right answer, and says whether it came
// instead of it.
func (f Fault) before(w http.ResponseWriter, r *http.Request, done <-chan struct{}) bool {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		case <-done:
		}
	}
	if f.Hold != nil {
		select {
		case <-f.Hold:
		case <-r.Context().Done():
		case <-done:
		}
	}
	switch {
	case f.Hang:
		select {
		case <-r.Context().Done():
		case <-done:
		}
		panic(http.ErrAbortHandler)
	case f.Reset:
		reset(w)
	case f.Status != 0:
		fail(w, f.Status, f.Code, f.Message)
	case f.Body != "":
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Write([]byte(f.Body))
	default:
		return false
	}
	return true
}

// reset ends the connection without an answer.
func reset(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		conn.Close()
	}
}

// discarded is an answer that nobody gets.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(int)             {}

func (f Fault) keyID(right string) string { return or(f.KeyID, right) }

func (f Fault) bytes(right []byte) []byte {
	if f.Bytes != nil {
		return f.Bytes(right)
	}
	return right
}
