//go:build cgo && unix

package pkcs11

/*
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// modules is the one package variable that is neither an error nor a constant:
// C_Initialize and C_Finalize act on the whole process, so what knows about
// them must be the process's too. A second C_Initialize is refused by the
// module, and a second C_Finalize ends everybody's sessions.
//
// What is known of PINs is kept here too, and for good: a configuration that is
// loaded again with the same wrong PIN must not try it again.
var modules = registry{byPath: map[string]*module{}, pins: map[string]*pinMemory{}}

type registry struct {
	mu     sync.Mutex
	byPath map[string]*module
	pins   map[string]*pinMemory
}

// errLost says that the module is not initialised, or no longer in the
// generation in which the caller found its token.
var errLost = errors.New("the module is being initialised again")

// module is one loaded PKCS#11 library. It stays loaded for the life of the
// process (vendors' libraries leave threads and exit handlers behind, and
// crash when unloaded), but is finalised when its last user leaves.
type module struct {
	ctx      *p11.Ctx
	turn     chan struct{} // one place: held by a call when serialize is set
	life     chan struct{} // one place: held across C_Initialize and C_Finalize
	reserved *C.char       // init-args, as C_Initialize gets them

	mu         sync.Mutex
	refs       int
	serialize  bool
	initArgs   string
	generation uint64 // counts C_Initialize; 0 before the first
	ready      bool   // initialised, and not about to be finalised
	active     int    // calls inside the library
	idle       chan struct{}
	linked     map[*link]*hsmToken
}

// acquire loads the module at the config's path, or shares the loaded one.
func (r *registry) acquire(c config) (*module, error) {
	if info, err := os.Stat(c.modulePath); err != nil {
		return nil, fail(backends.ErrUnavailable, "module-path: %w: install the vendor's PKCS#11 module or correct the path", err)
	} else if !info.Mode().IsRegular() {
		return nil, fail(backends.ErrUnavailable, "module-path: %s is not a file", c.modulePath)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.byPath[c.modulePath]
	if m == nil {
		ctx := p11.New(c.modulePath)
		if ctx == nil {
			return nil, fail(backends.ErrUnavailable, "module-path: %s cannot be loaded as a PKCS#11 module: "+
				"check its architecture and, with ldd, the libraries it needs", c.modulePath)
		}
		m = &module{
			ctx:    ctx,
			turn:   make(chan struct{}, 1),
			life:   make(chan struct{}, 1),
			linked: map[*link]*hsmToken{},
		}
		r.byPath[c.modulePath] = m
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refs > 0 && (m.serialize != c.serialize || m.initArgs != c.initArgs) {
		return nil, fail(backends.ErrUnavailable, "%s is in use with another serialize or init-args: "+
			"give all backends over one module the same, or isolate=true", c.modulePath)
	}
	m.refs++
	m.serialize, m.initArgs = c.serialize, c.initArgs
	return m, nil
}

// pinsOf returns the ledger of the PINs of a module's tokens.
func (r *registry) pinsOf(path string) *pinMemory {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.pins[path]
	if m == nil {
		m = newPINMemory()
		r.pins[path] = m
	}
	return m
}

// release gives back what acquire gave. The last one finalises, which no call
// may be inside of.
func (m *module) release() {
	m.life <- struct{}{}
	defer func() { <-m.life }()
	m.mu.Lock()
	m.refs--
	last := m.refs == 0 && m.ready
	if last {
		m.ready = false
	}
	m.mu.Unlock()
	if last {
		_ = m.ctx.Finalize() // nobody is left to tell
	}
}

// enter admits a call into the library if its generation is still that of the
// caller; leave must follow. While a call is inside, the library is not
// finalised.
func (m *module) enter(generation uint64) error {
	m.mu.Lock()
	if !m.ready || m.generation != generation {
		m.mu.Unlock()
		return errLost
	}
	m.active++
	serialize := m.serialize
	m.mu.Unlock()
	if serialize {
		m.turn <- struct{}{}
	}
	return nil
}

func (m *module) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.serialize {
		<-m.turn
	}
	m.active--
	if m.active == 0 && m.idle != nil {
		close(m.idle)
		m.idle = nil
	}
}

// renew returns a generation in which l may look for its token: a newer one
// than seen if somebody made one, the same if another backend still works in
// it, and else a new one. It waits for calls under way up to drain, and fails
// with errLost if stop comes first.
func (m *module) renew(l *link, seen uint64, drain time.Duration, stop <-chan struct{}) (uint64, error) {
	select {
	case m.life <- struct{}{}:
		defer func() { <-m.life }()
	case <-stop:
		return 0, errLost
	}
	m.mu.Lock()
	generation, ready := m.generation, m.ready
	m.mu.Unlock()
	if ready && (generation > seen || m.servesOthers(l, generation)) {
		return generation, nil
	}
	if ready {
		err := m.quiesce(drain, stop)
		if err != nil {
			return 0, err
		}
		_ = m.ctx.Finalize() // a module that lost its device may fail here and still be finalised
	}
	return m.initialize()
}

// servesOthers says whether a backend other than l has its token at hand. The
// module is then not finalised under it: tokens fail one by one.
func (m *module) servesOthers(l *link, generation uint64) bool {
	m.mu.Lock()
	var others []*hsmToken
	for other, token := range m.linked {
		if other != l && token.generation == generation {
			others = append(others, token)
		}
	}
	m.mu.Unlock()
	for _, token := range others {
		if m.enter(generation) != nil {
			return false
		}
		info, err := m.ctx.GetTokenInfo(token.slot)
		m.leave()
		if err == nil && info.SerialNumber == token.info.SerialNumber && info.Label == token.info.Label {
			return true
		}
	}
	return false
}

// quiesce refuses new calls and waits for those inside. If they do not return
// in time, calls are admitted again: finalising under a call is not allowed.
func (m *module) quiesce(drain time.Duration, stop <-chan struct{}) error {
	m.mu.Lock()
	m.ready = false
	idle := make(chan struct{})
	if m.active == 0 {
		close(idle)
	} else {
		m.idle = idle
	}
	m.mu.Unlock()

	timer := time.NewTimer(drain)
	defer timer.Stop()
	select {
	case <-idle:
		return nil
	case <-timer.C:
	case <-stop:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.active == 0 {
		return nil
	}
	m.idle, m.ready = nil, true
	return fmt.Errorf("%d calls do not return from the module: isolate=true would end them", m.active)
}

// initialize makes the next generation. The caller holds life.
func (m *module) initialize() (uint64, error) {
	m.mu.Lock()
	serialize, initArgs := m.serialize, m.initArgs
	m.mu.Unlock()

	var options []p11.InitializeOption
	if serialize {
		// No threads at once, so a module without locks is content.
		options = append(options, p11.InitializeWithFlags(0))
	}
	if initArgs != "" {
		if m.reserved != nil && C.GoString(m.reserved) != initArgs {
			C.free(unsafe.Pointer(m.reserved))
			m.reserved = nil
		}
		if m.reserved == nil {
			m.reserved = C.CString(initArgs) // the module may keep it: freed only for another
		}
		options = append(options, p11.InitializeWithReserved(unsafe.Pointer(m.reserved)))
	}
	err := m.ctx.Initialize(options...)
	if err != nil && !errors.Is(err, p11.Error(p11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return 0, calling("C_Initialize", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation++
	m.ready = true
	return m.generation, nil
}

// join and part keep the list of links whose token is at hand.
func (m *module) join(l *link, token *hsmToken) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.linked[l] = token
}

func (m *module) part(l *link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.linked, l)
}
