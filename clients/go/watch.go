package jeton

import (
	"context"
	"errors"
	"time"

	"go.jeton.dev/jeton/internal/clock"
)

// watch plans when a long call is judged again. Times are those of a monotonic clock.
type watch struct {
	recheck time.Duration // negative: never
	at      time.Duration
	never   bool
	missing bool
	missEnd time.Duration
}

func (g *Guard) newWatch(found *Verdict) *watch {
	made := &watch{recheck: g.options.Recheck}
	made.plan(found, g.client.clock.Now())
	return made
}

// plan is for a verdict that came.
func (w *watch) plan(found *Verdict, now time.Duration) {
	w.missing = false
	w.at, w.never = now+w.recheck, w.recheck < 0
	// Of the server's clock only a difference is used.
	if found.ExpireTime.Unix() > 0 && found.ServerTime.Unix() > 0 {
		// At least a moment: a server with some leeway is not asked in a loop.
		left := max(found.ExpireTime.Sub(found.ServerTime), 100*time.Millisecond)
		if dies := now + left; w.never || dies < w.at {
			w.at, w.never = dies, false
		}
	}
}

// missed is for a verdict that did not come. It tells whether the call ends.
func (w *watch) missed(now time.Duration) bool {
	patience := w.recheck
	if patience < 0 {
		patience = defaultRecheck
	}
	if !w.missing {
		w.missing, w.missEnd = true, now+patience
	}
	if now >= w.missEnd {
		return true
	}
	w.at = now + min(time.Second, patience)
	return false
}

// watchOver judges a call again and again, until ctx ends or the call must. It returns why.
func (g *Guard) watchOver(ctx context.Context, plan *watch, token Secret, thumbprint string, scopes []string) *Refused {
	for {
		if plan.never {
			<-ctx.Done()
			return nil
		}
		fired, stop := clock.Timer(g.client.clock, plan.at)
		select {
		case <-ctx.Done():
			stop()
			return nil
		case <-fired:
		}
		again, err := g.Judge(ctx, token, thumbprint, scopes...)
		if ctx.Err() != nil {
			return nil
		}
		var refused *Refused
		switch {
		case err == nil:
			plan.plan(again, g.client.clock.Now())
		case !errors.As(err, &refused):
			return withoutVerdict()
		case refused.Reason != noVerdict || plan.missed(g.client.clock.Now()):
			return refused
		}
	}
}
