package claims

import (
	"time"

	"github.com/jotsmith/jotsmith/service/policy"
)

// Build is Prepare and At in one.
func (c *Catalog) Build(grant policy.Grant, req Request, now time.Time) (Set, error) {
	draft, err := c.Prepare(grant, req)
	if err != nil {
		return Set{}, err
	}
	return draft.At(now)
}
