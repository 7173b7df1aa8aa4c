package top

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/jotsmith/jotsmith/cmd/internal/terminal"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// paper is a screen that keeps what was drawn last.
type paper struct {
	keys chan byte

	mu            sync.Mutex
	width, height int
	text          string
	drawn         int
	broken, fault error
}

func newPaper() *paper { return &paper{keys: make(chan byte), width: 80, height: 24} }

func (p *paper) Keys() <-chan byte { return p.keys }

func (p *paper) Fault() error { return p.fault }

func (p *paper) Size() (width, height int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.width, p.height
}

func (p *paper) Draw(lines []terminal.Line) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = text(lines)
	p.drawn++
	return p.broken
}

// shows fails unless a text is among what is shown, or with ! is not.
func (p *paper) shows(t *testing.T, wanted ...string) {
	t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, want := range wanted {
		unwanted, not := strings.CutPrefix(want, "!")
		if strings.Contains(p.text, unwanted) == not {
			t.Errorf("%q in:\n%s", want, p.text)
		}
	}
}

// counting is a server that mints ten tokens a second.
type counting struct {
	mu      sync.Mutex
	started time.Time
	fault   error
	slow    time.Duration
	asked   int
}

func (c *counting) ask(ctx context.Context) (*jotsmithv1.StatusResponse, error) {
	c.mu.Lock()
	c.asked++
	started, fault, slow := c.started, c.fault, c.slow
	c.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if fault != nil {
		return nil, fault
	}
	minted := int64(time.Since(started).Seconds() * 10)
	return &jotsmithv1.StatusResponse{
		Version: "v1.2.3", StartTime: timestamppb.New(started), ConfigTime: timestamppb.New(started), Serving: true, Minted: minted,
		Callers: []*jotsmithv1.CallerStatus{{Name: "zealous", Minted: minted}, {Name: "another", Failed: 1000}},
	}, nil
}

func (c *counting) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// live runs Live against a server until quit is called, which fails the test
// unless it ends.
func live(t *testing.T, server *counting) (screen *paper, quit func() error) {
	t.Helper()
	screen = newPaper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Live(ctx, Config{Ask: server.ask, Interval: 2 * time.Second, Now: time.Now}, screen)
	}()
	return screen, func() error {
		cancel()
		return <-ended
	}
}

func TestLiveShowsWhatHappensAndObeysItsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &counting{started: time.Now().Add(-time.Hour)}
		screen, quit := live(t, server)
		screen.shows(t, "36000 minted", "!per second") // nothing is known of before
		time.Sleep(2 * time.Second)
		screen.shows(t, "36020 minted", "per second   10 minted, 0 reused", "up 1h00m", "by rate")

		screen.keys <- 's'
		screen.shows(t, "by total", "zealous")
		for range 2 {
			screen.keys <- 's'
		}
		screen.shows(t, "by name")
		if first, second := strings.Index(screen.text, "another"), strings.Index(screen.text, "zealous"); first > second {
			t.Errorf("not by name:\n%s", screen.text)
		}
		screen.keys <- 'S'
		screen.shows(t, "by rate")
		if first, second := strings.Index(screen.text, "another"), strings.Index(screen.text, "zealous"); first < second {
			t.Errorf("not by rate:\n%s", screen.text)
		}

		screen.keys <- 'p'
		time.Sleep(20 * time.Second)
		screen.shows(t, "paused", "36020 minted", "p go on")
		screen.keys <- 's'
		screen.shows(t, "by total", "36020 minted")
		screen.keys <- 'p'
		screen.shows(t, "36220 minted", "p pause", "!paused")

		screen.keys <- 'x' // for nothing
		screen.mu.Lock()
		screen.width, screen.height = 40, 10
		screen.mu.Unlock()
		time.Sleep(resize)
		synctest.Wait()
		if lines := strings.Count(screen.text, "\n"); lines != 10 {
			t.Errorf("%d lines after the screen became smaller", lines)
		}
		if err := quit(); err != nil {
			t.Error(err)
		}
	})
}

func TestLiveGoesOnWhenTheServerIsAwayAndStartsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &counting{started: time.Now(), fault: errors.New("cannot reach the server")}
		screen, quit := live(t, server)
		screen.shows(t, "no answer since", "cannot reach the server", "!minted")
		since := time.Now()
		time.Sleep(10 * time.Second)
		screen.shows(t, "no answer since "+since.Format(time.TimeOnly))
		server.set(func() { server.fault, server.started = nil, time.Now().Add(-time.Minute) })
		time.Sleep(4 * time.Second)
		screen.shows(t, "!no answer", "per second   10 minted")

		server.set(func() { server.fault = errors.New("cannot reach the server") })
		time.Sleep(4 * time.Second)
		screen.shows(t, "no answer since", "per second   10 minted") // the last that is known
		server.set(func() { server.fault, server.started = nil, time.Now() })
		time.Sleep(2 * time.Second)
		screen.shows(t, "!no answer", "!per second", "up 2s") // of another run nothing is known yet
		time.Sleep(2 * time.Second)
		screen.shows(t, "per second   10 minted")
		if err := quit(); err != nil {
			t.Error(err)
		}
	})
}

func TestLiveAsksASlowServerOneQuestionAtATimeAndQuitsAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &counting{started: time.Now(), slow: time.Hour}
		screen, _ := live(t, server)
		time.Sleep(patience - time.Second)
		server.set(func() {
			if server.asked != 1 {
				t.Errorf("asked %d times", server.asked)
			}
		})
		time.Sleep(2 * time.Second)
		screen.shows(t, "no answer since", "deadline exceeded")
		time.Sleep(2 * time.Second)
		screen.keys <- 's' // it hears
		screen.shows(t, "by total")
		began := time.Now()
		screen.keys <- terminal.Interrupt // while the server is asked; the bubble ends only when nobody asks any more
		synctest.Wait()
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestLiveEndsWhenTheTerminalIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("the window was closed")
		screen := newPaper()
		screen.fault = gone
		close(screen.keys)
		cfg := Config{Ask: (&counting{started: time.Now()}).ask, Interval: time.Second, Now: time.Now}
		if err := Live(t.Context(), cfg, screen); !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
		screen = newPaper()
		screen.broken = gone
		if err := Live(t.Context(), cfg, screen); !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
	})
}

func TestOnceLooksTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &counting{started: time.Now().Add(-time.Hour)}
		cfg := Config{Ask: server.ask, Interval: 3 * time.Second, Now: time.Now}
		sample, rates, err := Once(t.Context(), cfg)
		if err != nil || rates.Minted != 10 || rates.Seconds != 3 || sample.Status.GetMinted() != 36030 || server.asked != 2 {
			t.Errorf("%v, %+v, %v", sample.Status, rates, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := Once(ctx, cfg); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		server.fault = errors.New("away")
		if _, _, err := Once(t.Context(), cfg); !errors.Is(err, server.fault) {
			t.Errorf("%v", err)
		}
	})
}
