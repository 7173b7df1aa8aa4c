// Package top shows what a server does, as it does it: in a terminal, or once for
// a script. It asks again and again for the operator's Status and works out what
// happened between two answers.
package top

import (
	"context"
	"fmt"
	"time"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"

	"github.com/jotsmith/jotsmith/cmd/internal/terminal"
)

// Ask asks the server for its state.
type Ask func(context.Context) (*jotsmithv1.StatusResponse, error)

// Screen is a terminal.Screen.
type Screen interface {
	Keys() <-chan byte
	Fault() error
	Size() (width, height int)
	Draw([]terminal.Line) error
}

// Config is what Live and Once need.
type Config struct {
	Ask      Ask
	Interval time.Duration // between two looks
	Now      func() time.Time
}

// answer is what came of asking the server.
type answer struct {
	sample *Sample
	err    error
}

// patience is how long an answer may take.
const patience = 5 * time.Second

func (c *Config) ask(ctx context.Context) answer {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	status, err := c.Ask(ctx)
	if err != nil {
		return answer{err: err}
	}
	return answer{sample: &Sample{c.Now(), status}}
}

// Once looks twice and returns the second look, with what happened between.
func Once(ctx context.Context, cfg Config) (Sample, Rates, error) {
	first := cfg.ask(ctx)
	if first.err != nil {
		return Sample{}, Rates{}, first.err
	}
	select {
	case <-ctx.Done():
		return Sample{}, Rates{}, ctx.Err()
	case <-time.After(cfg.Interval):
	}
	second := cfg.ask(ctx)
	if second.err != nil {
		return Sample{}, Rates{}, second.err
	}
	rates := Between(first.sample, second.sample)
	rates.Sort(ByRate)
	return *second.sample, rates, nil
}

// resize is how often the size of the screen is looked at.
const resize = 250 * time.Millisecond

// Live shows the server until somebody quits or ctx ends. A server that does not
// answer is asked again and again.
func Live(ctx context.Context, cfg Config, screen Screen) error {
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer)
	asking := make(chan struct{}, 1) // has one while the server is asked
	ask := func() {
		select {
		case asking <- struct{}{}:
		default:
			return
		}
		go func() {
			a := cfg.ask(ctx)
			select {
			case answers <- a:
			case <-ctx.Done():
			}
			<-asking
		}()
	}
	defer func() {
		cancel()
		asking <- struct{}{} // when nobody asks any more
	}()

	look, size := time.NewTicker(cfg.Interval), time.NewTicker(resize)
	defer look.Stop()
	defer size.Stop()
	v := view{cfg: cfg, screen: screen}
	ask()
	if err := v.draw(); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case key, ok := <-screen.Keys():
			if !ok {
				return screen.Fault()
			}
			if v.press(key) {
				return nil
			}
		case <-look.C:
			ask()
			continue
		case <-size.C:
			if width, height := screen.Size(); width == v.width && height == v.height {
				continue
			}
		case a := <-answers:
			v.take(a)
		}
		if err := v.draw(); err != nil {
			return err
		}
	}
}

// view is what is shown, and how.
type view struct {
	cfg           Config
	screen        Screen
	width, height int

	order         Order
	paused        bool
	earlier, last *Sample
	shown         *Frame // while it is paused
	away          error
	awaySince     time.Time
}

// press does what a key is for, and says whether it is to quit.
func (v *view) press(key byte) (quit bool) {
	switch key {
	case 'q', 'Q', terminal.Interrupt:
		return true
	case 's', 'S':
		v.order = (v.order + 1) % orders
	case 'p', 'P', ' ':
		v.paused = !v.paused
	}
	return false
}

// take takes an answer.
func (v *view) take(a answer) {
	if a.err != nil {
		if v.away == nil {
			v.awaySince = v.cfg.Now()
		}
		v.away = a.err
		return
	}
	v.away = nil
	v.earlier, v.last = v.last, a.sample
}

// draw shows what is known. What is paused stays as it was, but for its order.
func (v *view) draw() error {
	v.width, v.height = v.screen.Size()
	if v.shown == nil || !v.paused {
		v.shown = &Frame{Sample: v.last, Live: true}
		if v.last != nil {
			v.shown.Rates = Between(v.earlier, v.last)
		}
	}
	f := v.shown
	f.Width, f.Height = v.width, v.height
	f.Order, f.Paused, f.Away, f.AwaySince = v.order, v.paused, v.away, v.awaySince
	f.Rates.Sort(v.order)
	if err := v.screen.Draw(f.Lines()); err != nil {
		return fmt.Errorf("screen: %w", err)
	}
	return nil
}
