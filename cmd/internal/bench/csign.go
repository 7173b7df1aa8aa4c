//go:build cgo && linux

package main

/*
#cgo LDFLAGS: -ldl -lpthread
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// The little of PKCS#11 v2.40 that a signature needs.
typedef unsigned long CK_ULONG;
typedef struct { CK_ULONG type; void *value; CK_ULONG len; } CK_ATTRIBUTE;
typedef struct { CK_ULONG mechanism; void *parameter; CK_ULONG len; } CK_MECHANISM;
typedef struct { void *mutex[4]; CK_ULONG flags; void *reserved; } CK_C_INITIALIZE_ARGS;

static struct {
	CK_ULONG (*initialize)(void *);
	CK_ULONG (*slots)(unsigned char, CK_ULONG *, CK_ULONG *);
	CK_ULONG (*token)(CK_ULONG, void *);
	CK_ULONG (*open)(CK_ULONG, CK_ULONG, void *, void *, CK_ULONG *);
	CK_ULONG (*login)(CK_ULONG, CK_ULONG, const char *, CK_ULONG);
	CK_ULONG (*find_init)(CK_ULONG, CK_ATTRIBUTE *, CK_ULONG);
	CK_ULONG (*find)(CK_ULONG, CK_ULONG *, CK_ULONG, CK_ULONG *);
	CK_ULONG (*find_final)(CK_ULONG);
	CK_ULONG (*sign_init)(CK_ULONG, CK_MECHANISM *, CK_ULONG);
	CK_ULONG (*sign)(CK_ULONG, unsigned char *, CK_ULONG, unsigned char *, CK_ULONG *);
	CK_ULONG slot;
} p11;

typedef struct {
	CK_ULONG session, key, error, count;
	struct timespec end;
	pthread_t thread;
} worker;

// open_token loads the module and logs in. It returns a CKR, or ~0 when the
// module or the token is not there.
static CK_ULONG open_token(const char *module, const char *label, const char *pin) {
	void *lib = dlopen(module, RTLD_NOW);
	if (!lib) return ~0UL;
	*(void **)&p11.initialize = dlsym(lib, "C_Initialize");
	*(void **)&p11.slots = dlsym(lib, "C_GetSlotList");
	*(void **)&p11.token = dlsym(lib, "C_GetTokenInfo");
	*(void **)&p11.open = dlsym(lib, "C_OpenSession");
	*(void **)&p11.login = dlsym(lib, "C_Login");
	*(void **)&p11.find_init = dlsym(lib, "C_FindObjectsInit");
	*(void **)&p11.find = dlsym(lib, "C_FindObjects");
	*(void **)&p11.find_final = dlsym(lib, "C_FindObjectsFinal");
	*(void **)&p11.sign_init = dlsym(lib, "C_SignInit");
	*(void **)&p11.sign = dlsym(lib, "C_Sign");
	if (!p11.initialize || !p11.slots || !p11.token || !p11.open || !p11.login || !p11.find_init ||
	    !p11.find || !p11.find_final || !p11.sign_init || !p11.sign) return ~0UL;

	CK_C_INITIALIZE_ARGS args = {.flags = 2}; // CKF_OS_LOCKING_OK
	CK_ULONG rv = p11.initialize(&args);
	if (rv) return rv;
	CK_ULONG slots[64], n = 64;
	if ((rv = p11.slots(1, slots, &n))) return rv;
	for (CK_ULONG i = 0; i < n; i++) {
		char info[512] = {0}; // CK_TOKEN_INFO begins with the label, padded with blanks
		if ((rv = p11.token(slots[i], info))) return rv;
		if (!strncmp(info, label, strlen(label)) && info[strlen(label)] == ' ') {
			p11.slot = slots[i];
			CK_ULONG session;
			if ((rv = p11.open(p11.slot, 4, NULL, NULL, &session))) return rv; // CKF_SERIAL_SESSION
			return p11.login(session, 1, pin, strlen(pin)); // CKU_USER
		}
	}
	return ~0UL;
}

// open_worker opens a session and finds the private key.
static CK_ULONG open_worker(worker *w, char *object) {
	CK_ULONG rv, class = 3, n = 0; // CKO_PRIVATE_KEY
	if ((rv = p11.open(p11.slot, 4, NULL, NULL, &w->session))) return rv;
	CK_ATTRIBUTE want[] = {{0, &class, sizeof class}, {3, object, strlen(object)}}; // CKA_CLASS, CKA_LABEL
	if ((rv = p11.find_init(w->session, want, 2))) return rv;
	if ((rv = p11.find(w->session, &w->key, 1, &n))) return rv;
	if ((rv = p11.find_final(w->session))) return rv;
	return n == 1 ? 0 : ~0UL;
}

static void *work(void *arg) {
	worker *w = arg;
	CK_MECHANISM ecdsa = {0x1041, NULL, 0}; // CKM_ECDSA
	unsigned char digest[32] = {0}, signature[64];
	struct timespec now;
	do {
		CK_ULONG len = sizeof signature;
		memcpy(digest, &w->count, sizeof w->count);
		if ((w->error = p11.sign_init(w->session, &ecdsa, w->key))) return NULL;
		if ((w->error = p11.sign(w->session, digest, sizeof digest, signature, &len))) return NULL;
		w->count++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < w->end.tv_sec || (now.tv_sec == w->end.tv_sec && now.tv_nsec < w->end.tv_nsec));
	return NULL;
}

// run signs on every worker's session for so long and counts.
static CK_ULONG run(worker *w, int n, long long nanoseconds, CK_ULONG *count) {
	struct timespec end;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += nanoseconds / 1000000000;
	end.tv_nsec += nanoseconds % 1000000000;
	if (end.tv_nsec >= 1000000000) end.tv_sec++, end.tv_nsec -= 1000000000;
	int started = 0;
	CK_ULONG error = 0;
	*count = 0;
	for (; started < n; started++) {
		w[started].count = 0, w[started].end = end;
		if (pthread_create(&w[started].thread, NULL, work, &w[started])) {
			error = ~0UL;
			break;
		}
	}
	for (int i = 0; i < started; i++) {
		pthread_join(w[i].thread, NULL);
		*count += w[i].count;
		if (w[i].error) error = w[i].error;
	}
	return error;
}
*/
import "C"

import (
	"context"
	"fmt"
	"time"
	"unsafe"
)

// hasCLoop says whether this build has the raw loop.
const hasCLoop = true

// cLoop is the raw loop: threads of C, each on a session of its own.
type cLoop struct {
	workers []C.worker
}

func openCLoop(module string, sessions int) (*cLoop, error) {
	path, label, pin, object := C.CString(module), C.CString(hsmLabel), C.CString(hsmPIN), C.CString(hsmObject)
	defer func() {
		for _, s := range []*C.char{path, label, pin, object} {
			C.free(unsafe.Pointer(s))
		}
	}()
	if rv := C.open_token(path, label, pin); rv != 0 {
		return nil, fmt.Errorf("open %s: CKR 0x%x", module, uint64(rv))
	}
	l := &cLoop{make([]C.worker, sessions)}
	for i := range l.workers {
		if rv := C.open_worker(&l.workers[i], object); rv != 0 {
			return nil, fmt.Errorf("session %d: CKR 0x%x", i, uint64(rv))
		}
	}
	return l, nil
}

// run signs for d.
func (l *cLoop) run(_ context.Context, d time.Duration) (sample, error) {
	before, err := ownCPU()
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	var count C.CK_ULONG
	if rv := C.run(&l.workers[0], C.int(len(l.workers)), C.longlong(d), &count); rv != 0 {
		return sample{}, fmt.Errorf("C_Sign: CKR 0x%x", uint64(rv))
	}
	wall := time.Since(began)
	after, err := ownCPU()
	return sample{Count: int(count), Wall: wall, CPU: after - before}, err
}
