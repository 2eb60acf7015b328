package jeton

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/grpc/codes"

	jetonv1 "go.jeton.dev/jeton/gen/jeton/v1"
	"go.jeton.dev/jeton/internal/clock"
)

// Token is a token in hand. It does not print.
type Token struct {
	// JTI identifies the token, for logs.
	JTI string
	// SessionID is empty if the token belongs to no session.
	SessionID string

	secret        Secret
	authorization Secret
	deadAt        time.Duration
}

// Reveal returns the text of the token.
func (t *Token) Reveal() string { return t.secret.Reveal() }

// Format prints the JTI, for every verb.
func (t *Token) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, "jeton.Token("+t.JTI+")")
}

// TokenOptions say what a token source asks for.
type TokenOptions struct {
	Subject   string
	Audiences []string
	Scopes    []string
	Claims    map[string]any
	// TTL; zero: the default of the policy.
	TTL time.Duration
	// Refreshable opens a session, and renews by Refresh. Without it each renewal is an Issue.
	Refreshable bool
	// RefreshToken of a session that somebody else opened. The source never calls Issue then.
	RefreshToken Secret
	// RefreshTokenFile keeps the refresh token across restarts, with mode 0600.
	RefreshTokenFile string
	// OnRefreshToken gets each refresh token before its access token is shown, instead of the file.
	OnRefreshToken func(Secret) error
	// OnEvent gets the events, in order. It may take its time.
	OnEvent func(Event)
	// AllowPlaintext lets the token go over connections without TLS that leave this machine, as within a mesh.
	AllowPlaintext bool
}

// TokenSource holds one token, and renews it in the background. It is safe for use by several goroutines.
//
// It is a [credentials.PerRPCCredentials] of gRPC and an [oauth2.TokenSource]. Interceptors and RoundTripper can do more:
// they repeat a call whose token a peer refused.
type TokenSource struct {
	client  *Client
	options TokenOptions
	issue   *jetonv1.IssueRequest
	events  *teller

	// held is read in the hot path: no lock, no call.
	held atomic.Pointer[held]

	lock    sync.Mutex
	renewal renewal
	changed chan struct{} // closed when an attempt has ended, and then replaced
	started bool

	poke   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// NewTokenSource returns a source. It makes no call: the first one is made by the first Get.
func NewTokenSource(client *Client, options TokenOptions) (*TokenSource, error) {
	request := IssueRequest{
		Subject: options.Subject, Audiences: options.Audiences, Scopes: options.Scopes,
		Claims: options.Claims, TTL: options.TTL, Refreshable: options.Refreshable,
	}
	issue, err := request.message()
	if err != nil {
		return nil, err
	}
	session := options.RefreshToken
	if options.RefreshTokenFile != "" {
		kept, err := tokenFile{options.RefreshTokenFile}.read()
		if err != nil {
			return nil, err
		}
		if !kept.IsZero() {
			session = kept
		}
	}
	if options.Subject == "" && session.IsZero() {
		base := failure{
			code: codes.InvalidArgument, reason: "FIELD_REQUIRED",
			message: "There is no subject. Give Subject, or a session that exists: RefreshToken or RefreshTokenFile.",
		}
		return nil, &FieldRequired{failure: base, Field: "subject"}
	}
	source := &TokenSource{
		client: client, options: options, issue: issue,
		events:  &teller{receive: options.OnEvent, log: client.log},
		renewal: newRenewal(client.clock), changed: make(chan struct{}), poke: make(chan struct{}, 1),
	}
	source.renewal.refreshToken = session
	// Not the context of any caller: renewals outlive them, and end with Close.
	source.ctx, source.cancel = context.WithCancel(context.Background())
	return source, nil
}

// Get returns a token that lives. It waits only if there is none, until the deadline of ctx, or 10 s if it has none.
func (s *TokenSource) Get(ctx context.Context) (*Token, error) {
	if held := s.held.Load(); held != nil && s.client.clock.Now() < held.deadAt {
		return held.token, nil
	}
	return s.wait(ctx)
}

func (s *TokenSource) wait(ctx context.Context) (*Token, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	s.lock.Lock()
	defer s.lock.Unlock()
	for seen := s.renewal.completed; ; {
		token, err := s.renewal.look(seen)
		if token != nil || err != nil {
			return token, err
		}
		if !s.await(ctx) {
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, fromContext(ctx)
			}
			if latest := s.renewal.sinceDeath(); latest != nil {
				return nil, latest
			}
			return nil, fromContext(ctx)
		}
	}
}

// another returns another token than one that a peer refused; nil: there is none, or none may be asked for.
func (s *TokenSource) another(ctx context.Context, refused *Token) *Token {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	s.lock.Lock()
	defer s.lock.Unlock()
	for seen := s.renewal.completed; ; {
		if s.renewal.closed || s.renewal.ended != nil {
			return nil
		}
		if token := s.renewal.live(); token != nil && token != refused {
			return token
		}
		if s.renewal.completed > seen || !s.renewal.refuse(refused) || !s.await(ctx) {
			return nil
		}
	}
}

// await wakes the background, and waits for the end of an attempt, without the lock.
func (s *TokenSource) await(ctx context.Context) bool {
	if !s.started {
		s.started = true
		s.work.Add(1)
		go s.run()
	}
	changed := s.changed
	s.lock.Unlock()
	defer s.lock.Lock()
	s.wake()
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *TokenSource) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// run begins attempts when they are due, until Close or the end of the session.
func (s *TokenSource) run() {
	defer s.work.Done()
	for {
		s.lock.Lock()
		s.events.tell(s.renewal.tick())
		if attempt := s.renewal.begin(); attempt != nil {
			s.work.Add(1)
			go s.attempt(attempt)
		}
		at, ok := s.renewal.wakeAt()
		over := s.renewal.closed || s.renewal.ended != nil
		s.lock.Unlock()
		if over {
			return
		}
		var fired <-chan struct{}
		stop := func() bool { return true }
		if ok {
			fired, stop = clock.Timer(s.client.clock, at)
		}
		select {
		case <-fired:
		case <-s.poke:
		case <-s.ctx.Done():
		}
		stop()
	}
}

func (s *TokenSource) attempt(made *attempt) {
	defer s.work.Done()
	defer s.wake()
	ctx, cancel := context.WithTimeout(s.ctx, made.timeout)
	defer cancel()
	token, err := s.ask(ctx, made)
	if err == nil {
		s.keep(token.RefreshToken)
	}

	s.lock.Lock()
	defer s.lock.Unlock()
	if s.renewal.closed {
		return
	}
	if err == nil {
		events := s.renewal.succeeded(made, token)
		s.held.Store(s.renewal.held)
		s.events.tell(events)
	} else {
		s.client.log.Debug("a renewal failed", "error", err.Error())
		events := s.renewal.failed(made, err)
		s.held.Store(s.renewal.held)
		if s.renewal.ended != nil && s.options.RefreshTokenFile != "" {
			if failed := (tokenFile{s.options.RefreshTokenFile}).remove(); failed != nil {
				s.client.log.Warn("the file of an ended session could not be removed", "error", failed)
			}
		}
		s.events.tell(events)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *TokenSource) ask(ctx context.Context, made *attempt) (*IssuedToken, Error) {
	// One round: between attempts there is a pause of the source itself.
	stub := jetonv1.NewTokenServiceClient(route{client: s.client, group: s.client.public, rounds: 1})
	issue, refresh := made.request(&s.options, s.issue)
	if issue != nil {
		answer, err := stub.Issue(ctx, issue)
		if err != nil {
			return nil, fromStatus(err, endpoint{})
		}
		return issued(answer.GetToken()), nil
	}
	answer, err := stub.Refresh(ctx, refresh)
	if err != nil {
		return nil, fromStatus(err, endpoint{})
	}
	return issued(answer.GetToken()), nil
}

// keep keeps the successor before anybody sees the token.
func (s *TokenSource) keep(token Secret) {
	if token.IsZero() {
		return
	}
	const failed = "the refresh token could not be kept; the one in memory is good"
	switch {
	case s.options.OnRefreshToken != nil:
		// The error may hold the token, so its text is not logged.
		if err := s.options.OnRefreshToken(token); err != nil {
			s.client.log.Warn(failed, "by", "OnRefreshToken", "error_type", fmt.Sprintf("%T", err))
		}
	case s.options.RefreshTokenFile != "":
		if err := (tokenFile{s.options.RefreshTokenFile}).write(token); err != nil {
			s.client.log.Warn(failed, "error", err)
		}
	}
}

// Close ends the source. Callers that wait get Closed. When it returns, no goroutine of the source is left but one that
// runs OnEvent, until that returns.
func (s *TokenSource) Close() error {
	s.lock.Lock()
	if !s.renewal.closed {
		s.renewal.closed = true
		s.renewal.held = nil
		s.held.Store(nil)
		s.cancel()
		s.events.close()
		close(s.changed)
		s.changed = make(chan struct{})
	}
	s.lock.Unlock()
	s.work.Wait()
	return nil
}

// Format prints what the token is for, for every verb.
func (s *TokenSource) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, s.String()) }

func (s *TokenSource) String() string {
	return fmt.Sprintf("jeton.TokenSource(subject %q, audiences %q)", s.options.Subject, s.options.Audiences)
}

// Token makes the source an [oauth2.TokenSource]. The expiry is by the clock of this machine.
func (s *TokenSource) Token() (*oauth2.Token, error) {
	token, err := s.Get(context.Background())
	if err != nil {
		return nil, err
	}
	left := token.deadAt - s.client.clock.Now()
	return &oauth2.Token{AccessToken: token.Reveal(), TokenType: "Bearer", Expiry: time.Now().Add(left)}, nil
}

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, getTime)
}
