package jeton

import (
	"math"
	"time"

	jetonv1 "go.jeton.dev/jeton/gen/jeton/v1"
	"go.jeton.dev/jeton/internal/clock"
)

const (
	attemptTime  = 10 * time.Second
	getTime      = 10 * time.Second
	firstPause   = 100 * time.Millisecond
	longestPause = 30 * time.Second
	healthyAfter = time.Minute
	// Renewals that refusals by peers may cause: so many at once, and one more for each so long.
	refusalsAtOnce = 5
	refusalEvery   = 10 * time.Second
)

// held is a token in hand. The first two fields are read without a lock, and do not change.
type held struct {
	token   *Token
	deadAt  time.Duration
	renewAt time.Duration
	warnAt  time.Duration
	warned  bool
}

// attempt is one renewal.
type attempt struct {
	refreshToken Secret // zero: an Issue
	timeout      time.Duration
	sent         time.Duration
}

// renewal is the state of a token source, without goroutines and calls. Its owner holds a lock.
type renewal struct {
	clock        clock.Clock
	held         *held
	refreshToken Secret
	completed    int // attempts
	inFlight     bool
	wanted       bool
	closed       bool
	ended        Error
	latest       Error
	failures     int
	failedAt     time.Duration
	notBefore    time.Duration

	refusals    float64
	refusalsAt  time.Duration
	refused     *Token
	refusedWhen int // attempts completed then
}

func newRenewal(clock clock.Clock) renewal {
	now := clock.Now()
	return renewal{clock: clock, refusals: refusalsAtOnce, refusalsAt: now, failedAt: now - healthyAfter, notBefore: now}
}

func (r *renewal) live() *Token {
	if r.held != nil && r.clock.Now() < r.held.deadAt {
		return r.held.token
	}
	return nil
}

// look is for a caller that began to wait after `seen` attempts. It returns a token or an error, or neither: wait.
func (r *renewal) look(seen int) (*Token, error) {
	if r.closed {
		return nil, newClosed("token source")
	}
	if token := r.live(); token != nil {
		return token, nil
	}
	if r.ended != nil {
		return nil, r.ended
	}
	if r.latest != nil && isLasting(r.latest) {
		pausing := !r.inFlight && r.clock.Now() < r.notBefore
		if pausing || r.completed > seen {
			return nil, r.latest
		}
	}
	r.wanted = true
	return nil, nil
}

// sinceDeath is the error of the latest attempt since the token in hand died, if any.
func (r *renewal) sinceDeath() Error {
	if r.latest == nil || (r.held != nil && r.failedAt < r.held.deadAt) {
		return nil
	}
	return r.latest
}

// refuse notes that a peer refused a token. It tells whether a renewal comes.
func (r *renewal) refuse(token *Token) bool {
	if r.closed || r.ended != nil {
		return false
	}
	if r.inFlight || (r.refused == token && r.refusedWhen == r.completed) {
		return true
	}
	now := r.clock.Now()
	r.refusals = min(r.refusals+float64(now-r.refusalsAt)/float64(refusalEvery), refusalsAtOnce)
	r.refusalsAt = now
	if r.refusals < 1 {
		return false
	}
	r.refusals--
	r.refused, r.refusedWhen = token, r.completed
	r.wanted = true
	if r.held != nil {
		r.held.renewAt = now
	}
	return true
}

// dueAt is when the next attempt begins, if one does.
func (r *renewal) dueAt() (time.Duration, bool) {
	switch {
	case r.ended != nil, r.closed, r.inFlight:
		return 0, false
	case r.held != nil:
		return max(r.held.renewAt, r.notBefore), true
	}
	return r.notBefore, r.wanted
}

// wakeAt is when something is to be done, if anything is.
func (r *renewal) wakeAt() (time.Duration, bool) {
	at, ok := r.dueAt()
	if r.held != nil && !r.held.warned && r.ended == nil && (!ok || r.held.warnAt < at) {
		return r.held.warnAt, true
	}
	return at, ok
}

// tick returns the events whose time has come.
func (r *renewal) tick() []Event {
	if r.held == nil || r.held.warned || r.ended != nil || r.closed || r.clock.Now() < r.held.warnAt {
		return nil
	}
	r.held.warned = true
	return []Event{{Kind: EventWillExpire, JTI: r.held.token.JTI, SessionID: r.held.token.SessionID, Err: r.latest}}
}

// begin returns the attempt that is due, if any; succeeded or failed follows.
func (r *renewal) begin() *attempt {
	due, ok := r.dueAt()
	now := r.clock.Now()
	if !ok || now < due {
		return nil
	}
	r.inFlight = true
	timeout := attemptTime
	if r.held != nil && now < r.held.deadAt {
		timeout = max(min(timeout, r.held.deadAt-now), time.Second)
	}
	return &attempt{refreshToken: r.refreshToken, timeout: timeout, sent: now}
}

func (r *renewal) succeeded(made *attempt, token *IssuedToken) []Event {
	r.inFlight, r.wanted, r.latest = false, false, nil
	r.completed++
	if !token.RefreshToken.IsZero() {
		r.refreshToken = token.RefreshToken
	}
	lifetime := token.ExpireTime.Sub(token.IssueTime)
	renewIn := token.RefreshTime.Sub(token.IssueTime)
	if token.RefreshTime.IsZero() || renewIn <= 0 || renewIn >= lifetime {
		renewIn = lifetime * 4 / 5
	}
	margin := min(time.Second, lifetime/4)
	deadAt := made.sent + lifetime - margin
	warnAt := deadAt - lifetime/10
	text := token.AccessToken.Reveal()
	r.held = &held{
		token: &Token{
			secret: token.AccessToken, authorization: NewSecret("Bearer " + text),
			JTI: token.JTI, SessionID: token.SessionID, deadAt: deadAt,
		},
		deadAt: deadAt,
		// A short-lived token would be dead, or near to it, before the server's time for it.
		renewAt: min(made.sent+renewIn, warnAt-margin),
		warnAt:  warnAt,
	}
	return []Event{{Kind: EventRefreshed, JTI: token.JTI, SessionID: token.SessionID}}
}

func (r *renewal) failed(made *attempt, err Error) []Event {
	r.inFlight, r.latest = false, err
	r.completed++
	now := r.clock.Now()
	if !made.refreshToken.IsZero() && endsSession(err) {
		return r.end(err)
	}
	if now-r.failedAt > healthyAfter {
		r.failures = 0
	}
	r.failures++
	r.failedAt = now
	limit := min(float64(longestPause), float64(firstPause)*math.Pow(2, float64(min(r.failures-1, 30))))
	r.notBefore = now + jitter(time.Duration(limit))
	if delay, ok := err.RetryAfter(); ok {
		r.notBefore += max(delay, 0)
	}
	return nil
}

func (r *renewal) end(err Error) []Event {
	r.ended = err
	r.refreshToken = Secret{}
	told := Event{Kind: EventSessionEnded, SessionID: err.Metadata()["sessionId"], Err: err}
	if r.held != nil {
		told.JTI, told.SessionID = r.held.token.JTI, r.held.token.SessionID
	}
	switch err.(type) {
	case *SessionRevoked, *RefreshTokenReused:
		r.held = nil
	}
	return []Event{told}
}

func endsSession(err Error) bool {
	switch err.(type) {
	case *SessionRevoked, *RefreshTokenReused, *RefreshTokenExpired, *RefreshTokenInvalid:
		return true
	}
	return false
}

// request is what an attempt sends: one of the two.
func (a *attempt) request(options *TokenOptions, issue *jetonv1.IssueRequest) (*jetonv1.IssueRequest, *jetonv1.RefreshRequest) {
	if a.refreshToken.IsZero() {
		return issue, nil
	}
	refresh := RefreshRequest{RefreshToken: a.refreshToken, Scopes: options.Scopes, TTL: options.TTL}
	return nil, refresh.message()
}
