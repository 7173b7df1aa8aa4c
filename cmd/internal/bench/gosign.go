//go:build cgo && linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
)

// goLoop is the raw loop as a Go program has it: C_SignInit and C_Sign on
// sessions that each have a goroutine.
type goLoop struct {
	module   *pkcs11.Ctx
	sessions []pkcs11.SessionHandle
	key      pkcs11.ObjectHandle
}

func openGoLoop(path string, sessions int) (*goLoop, error) {
	l := &goLoop{module: pkcs11.New(path)}
	if l.module == nil {
		return nil, fmt.Errorf("open %s", path)
	}
	if err := l.module.Initialize(); err != nil {
		return nil, err
	}
	slots, err := l.module.GetSlotList(true)
	if err != nil {
		return nil, err
	}
	for _, slot := range slots {
		info, err := l.module.GetTokenInfo(slot)
		if err != nil || strings.TrimRight(info.Label, " ") != hsmLabel {
			continue
		}
		for range sessions {
			session, err := l.module.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
			if err != nil {
				return nil, err
			}
			l.sessions = append(l.sessions, session)
		}
	}
	if len(l.sessions) == 0 {
		return nil, errors.New("no token " + hsmLabel)
	}
	if err := l.module.Login(l.sessions[0], pkcs11.CKU_USER, hsmPIN); err != nil {
		return nil, err
	}
	if err := l.find(); err != nil {
		return nil, err
	}
	return l, nil
}

// find finds the private key.
func (l *goLoop) find() error {
	err := l.module.FindObjectsInit(l.sessions[0], []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, hsmObject),
	})
	if err != nil {
		return err
	}
	found, _, err := l.module.FindObjects(l.sessions[0], 1)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New("no key " + hsmObject)
	}
	l.key = found[0]
	return l.module.FindObjectsFinal(l.sessions[0])
}

// run signs for d.
func (l *goLoop) run(_ context.Context, d time.Duration) (sample, error) {
	before, err := ownCPU()
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	var count atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, len(l.sessions))
	for i, session := range l.sessions {
		wg.Go(func() {
			for errs[i] == nil && time.Since(began) < d {
				if errs[i] = l.sign(session); errs[i] == nil {
					count.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return sample{}, err
	}
	wall := time.Since(began)
	after, err := ownCPU()
	return sample{Count: int(count.Load()), Wall: wall, CPU: after - before}, err
}

func (l *goLoop) sign(session pkcs11.SessionHandle) error {
	ecdsa := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)}
	if err := l.module.SignInit(session, ecdsa, l.key); err != nil {
		return err
	}
	_, err := l.module.Sign(session, make([]byte, 32))
	return err
}
