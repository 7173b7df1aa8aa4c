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
