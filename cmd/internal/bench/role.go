package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

// The parts that this program plays in a process of its own, given as its
// first argument.
const (
	roleBare    = "bare-server" // KIND SOCKET [ANSWER-FILE]
	roleCSign   = "c-loop"      // MODULE SESSIONS
	roleGoSign  = "go-loop"     // MODULE SESSIONS
	roleBackend = "backend"     // URI KEY-ID CALLERS
	roleSDK     = "aws-sdk"     // ENDPOINT KEY-ID CALLERS
	roleKMS     = "kms-fake"    // KEY-FILE DELAY
	roleFlood   = "flood"       // ORDER
)

func isRole(arg string) bool {
	return slices.Contains([]string{roleBare, roleCSign, roleGoSign, roleBackend, roleSDK, roleKMS, roleFlood}, arg)
}

// runRole plays a part until its input ends or ctx does.
func runRole(ctx context.Context, role string, args []string) error {
	number := 0
	if len(args) > 1 {
		number, _ = strconv.Atoi(args[len(args)-1]) // the other parts end in no number
	}
	switch {
	case role == roleBare && len(args) == 2:
		return runBare(ctx, args[0], args[1], "")
	case role == roleBare && len(args) == 3:
		return runBare(ctx, args[0], args[1], args[2])
	case role == roleKMS && len(args) == 2:
		delay, err := time.ParseDuration(args[1])
		if err != nil {
			return err
		}
		return runKMS(args[0], delay, os.Stdin, os.Stdout)
	case role == roleFlood && len(args) == 1:
		return runFlood(ctx, args[0], os.Stdout)
	case role == roleCSign && len(args) == 2:
		return runLoop(ctx, openCLoop, args[0], number)
	case role == roleGoSign && len(args) == 2:
		return runLoop(ctx, openGoLoop, args[0], number)
	case role == roleBackend && len(args) == 3:
		return runAgent(ctx, func(ctx context.Context) (job, error) {
			return openBackend(ctx, args[0], args[1], number)
		}, os.Stdin, os.Stdout)
	case role == roleSDK && len(args) == 3:
		return runAgent(ctx, func(ctx context.Context) (job, error) {
			return openSDK(ctx, args[0], args[1], number)
		}, os.Stdin, os.Stdout)
	}
	return fmt.Errorf("%s: wrong arguments %q", role, args)
}

// runLoop plays the part of a raw loop over the module's sessions.
func runLoop[L interface {
	run(ctx context.Context, d time.Duration) (sample, error)
}](ctx context.Context, open func(module string, sessions int) (L, error), module string, sessions int) error {
	return runAgent(ctx, func(context.Context) (job, error) {
		loop, err := open(module, sessions)
		if err != nil {
			return job{}, err
		}
		return job{run: loop.run, close: func() error { return nil }}, nil
	}, os.Stdin, os.Stdout)
}
