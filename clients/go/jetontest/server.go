// Package jetontest has a double of jeton, which issues, refreshes, judges and revokes in memory: token sources and guards
// that are made from its client work as with a server.
//
//	server := jetontest.New(t)
//	source, err := jeton.NewTokenSource(server.Client(), jeton.TokenOptions{Subject: "svc:a", Audiences: []string{"orders"}})
//	…
//	server.Advance(time.Hour) // the source renews its token
package jetontest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"go.jeton.dev/jeton"
	"go.jeton.dev/jeton/internal/clock"
	"go.jeton.dev/jeton/internal/double"
)

// Begin is the time of a new double.
var Begin = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Cleaner is what New needs of a *testing.T.
type Cleaner interface{ Cleanup(func()) }

// Server is the double. It is safe for use by several goroutines.
type Server struct {
	clock  *clock.Manual
	client *jeton.Client

	lock     sync.Mutex
	away     bool
	refusals []refusal
	calls    map[string]int
	numbers  int
	tokens   map[string]*token
	sessions map[string]*session
	streams  map[*stream]struct{}
}

type refusal struct {
	method string
	status *status.Status
}

// New returns a double, which is closed at the end of the test.
func New(test Cleaner) *Server {
	made := &Server{
		clock: clock.NewManual(), calls: map[string]int{}, tokens: map[string]*token{},
		sessions: map[string]*session{}, streams: map[*stream]struct{}{},
	}
	made.client = double.NewClient(made, made.clock).(*jeton.Client)
	test.Cleanup(func() { _ = made.client.Close() })
	return made
}

// Client returns the client of the double.
func (s *Server) Client() *jeton.Client { return s.client }

// Now is the time of the double.
func (s *Server) Now() time.Time { return Begin.Add(s.clock.Now()) }

// Advance lets time pass, for the double and for what is made from its client. Deadlines of contexts are by the clock of
// the machine nevertheless.
func (s *Server) Advance(by time.Duration) { s.clock.Advance(by) }

// SetAway makes the double unreachable, or reachable again. Streams end.
func (s *Server) SetAway(away bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.away = away
	if away {
		for one := range s.streams {
			one.end(unreachable())
		}
	}
}

// Refuse answers the next call of a method ("Issue", "Validate", …) by an error reason, such as "RATE_LIMITED". An empty
// reason is a bare status.
func (s *Server) Refuse(method string, code codes.Code, reason string, metadata map[string]string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.refusals = append(s.refusals, refusal{method, failed(code, reason, metadata)})
}

// Calls is how many calls of a method there were, refused ones included.
func (s *Server) Calls(method string) int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.calls[method]
}

// Issue mints a token, without a call: for a test of a guard.
func (s *Server) Issue(request jeton.IssueRequest) jeton.Secret {
	s.lock.Lock()
	defer s.lock.Unlock()
	ttl := request.TTL
	if ttl == 0 {
		ttl = defaultTTL
	}
	made := s.mint(request.Subject, request.Audiences, request.Scopes, ttl)
	made.claims, made.thumbprint = request.Claims, request.CertificateThumbprint
	return jeton.NewSecret(made.text)
}

// RevokeToken revokes the token with that JTI.
func (s *Server) RevokeToken(jti string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, one := range s.tokens {
		one.revoked = one.revoked || one.jti == jti
	}
}

// RevokeSession revokes the session with that id, and its tokens.
func (s *Server) RevokeSession(id string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if found := s.sessions[id]; found != nil {
		found.revoked = true
	}
}

// begin counts a call, and returns the status by which it fails, if it does.
func (s *Server) begin(path string) (string, error) {
	method := path[strings.LastIndexByte(path, '/')+1:]
	s.lock.Lock()
	defer s.lock.Unlock()
	s.calls[method]++
	if s.away {
		return method, unreachable()
	}
	for i, one := range s.refusals {
		if one.method == method {
			s.refusals = append(s.refusals[:i:i], s.refusals[i+1:]...)
			return method, one.status.Err()
		}
	}
	return method, nil
}

func unreachable() error {
	return status.Error(codes.Unavailable, "the double is away, as the test told it")
}

func failed(code codes.Code, reason string, metadata map[string]string) *status.Status {
	told := status.New(code, fmt.Sprintf("The double refuses: %s.", reason))
	if reason == "" {
		return status.New(code, "The double refuses, as the test told it.")
	}
	info := &errdetails.ErrorInfo{Domain: "jeton.v1", Reason: reason, Metadata: metadata}
	if detailed, err := told.WithDetails(info); err == nil {
		return detailed
	}
	return told
}
