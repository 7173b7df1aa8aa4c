//go:build !cgo || !linux

package main

import (
	"context"
	"errors"
	"time"
)

const hasCLoop = false

// cLoop needs cgo.
type cLoop struct{}

func openCLoop(string, int) (*cLoop, error) {
	return nil, errors.New("the loop in C needs a build with cgo")
}

func (*cLoop) run(context.Context, time.Duration) (sample, error) { return sample{}, nil }

// goLoop needs cgo too.
type goLoop struct{}

func openGoLoop(string, int) (*goLoop, error) {
	return nil, errors.New("PKCS#11 needs a build with cgo")
}

func (*goLoop) run(context.Context, time.Duration) (sample, error) { return sample{}, nil }
