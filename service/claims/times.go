package claims

import (
	"fmt"
	"strconv"
	"time"
)

// times works out when a token made at now is good for what.
func (p *compiled) times(now time.Time, ttl time.Duration) times {
	issue := now.Unix() - int64(p.Backdate/time.Second)
	if grid := int64(p.Reuse.Grid / time.Second); grid > 0 {
		issue -= issue % grid
	}
	t := times{issue: time.Unix(issue, 0).UTC()}
	made := t.issue.Add(p.Backdate)
	if p.expires {
		t.expire = made.Add(ttl)
		t.end = t.expire
	} else if p.MaxAge > 0 {
		t.end = t.issue.Add(p.MaxAge)
	}
	if t.end.IsZero() || p.OneTime() {
		return t
	}
	t.last = t.end.Add(-p.life(ttl) / 3)
	t.refresh = t.last
	if p.Reuse.Grid > 0 {
		t.refresh = made.Add(p.Reuse.Grid)
	}
	return t
}

// life returns how long a new token is valid; 0 where no end is known.
func (p *compiled) life(ttl time.Duration) time.Duration {
	switch {
	case p.expires:
		return ttl
	case p.MaxAge > 0:
		return p.MaxAge - p.Backdate
	}
	return 0
}

// ttl returns the time to live, or adds to the refusal why the one asked for
// cannot be. The most is the profile's or, where it is less, the grant's, which
// lowers the default too.
func (p *compiled) ttl(asked *time.Duration, most time.Duration, members []member, refusal *Refusal) time.Duration {
	switch {
	case asked == nil && p.expires:
		return min(p.DefaultTTL, most)
	case asked == nil:
		return 0
	case !p.expires:
		refusal.add("ttl", "cannot be set: tokens of this profile do not expire")
		return 0
	case p.Reuse.Mode == Shared:
		refusal.add("ttl", "cannot be set: the token of this profile is shared by all callers")
		return 0
	}
	ttl := *asked
	switch {
	case ttl <= 0:
		refusal.add("ttl", "is not positive")
	case ttl%time.Second != 0:
		refusal.add("ttl", "is not a whole number of seconds")
	case ttl > most:
		refusal.add("ttl", fmt.Sprintf("is over this profile's limit of %s", seconds(most)))
	case p.MaxLifetime > 0 && ttl > p.MaxLifetime-p.Backdate:
		p.checkLongLived(ttl, members, refusal)
	}
	return ttl
}

// checkLongLived adds to the refusal why a token of more than the ordinary
// lifetime cannot be.
func (p *compiled) checkLongLived(ttl time.Duration, members []member, refusal *Refusal) {
	ordinary := seconds(p.MaxLifetime - p.Backdate)
	if p.LongLived == nil {
		refusal.add("ttl", fmt.Sprintf("is over the limit of %s", ordinary))
		return
	}
	switch items := p.given(p.LongLived.Claim, members).items(); {
	case ttl > p.LongLived.MaxLifetime-p.Backdate:
		refusal.add("ttl", fmt.Sprintf("is over the limit of %s", seconds(p.LongLived.MaxLifetime-p.Backdate)))
	case len(items) == 0:
		refusal.add("ttl", fmt.Sprintf("is over %s, which needs the claim %s", ordinary, p.LongLived.Claim))
	default:
		if err := runCheck(p.LongLived.Check, items); err != nil {
			refusal.add(field(p.LongLived.Claim), fmt.Sprintf("%v; the limit is then %s", err, ordinary))
		}
	}
}

// minRemaining returns the least life left of a token that is handed out, or
// adds to the refusal why the one asked for cannot be.
func (p *compiled) minRemaining(asked *time.Duration, ttl time.Duration, refusal *Refusal) time.Duration {
	life := p.life(ttl)
	if asked == nil {
		return life / 3
	}
	promise := life
	if p.Reuse.Mode == Shared {
		promise -= max(p.Reuse.MinAge, p.Reuse.Grid)
	}
	switch {
	case *asked < 0:
		refusal.add("min_remaining", "is negative")
	case life == 0:
		refusal.add("min_remaining", "cannot be set: tokens of this profile have no end")
	case *asked > promise && p.Reuse.Mode == Shared:
		refusal.add("min_remaining", fmt.Sprintf("is over %s, the least that a shared token of this profile has left", seconds(promise)))
	case *asked > promise:
		refusal.add("min_remaining", fmt.Sprintf("is over %s, the life of a new token", seconds(promise)))
	}
	return max(*asked, life/3)
}

// seconds writes a duration of whole seconds as the API takes it, as in "1080s".
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}
