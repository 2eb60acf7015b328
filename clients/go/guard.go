package jeton

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	jetonv1 "go.jeton.dev/jeton/gen/jeton/v1"
)

const (
	longestToken   = 8 << 10
	complaintEvery = time.Minute
	defaultRecheck = 30 * time.Second
)

// GuardMode is how a guard asks for verdicts.
type GuardMode int

const (
	// GuardUnary asks by Validate for each call.
	GuardUnary GuardMode = iota
	// GuardStream asks by one StreamValidate for all calls: cheaper under load.
	GuardStream
)

// GuardOptions say what a guard asks for.
type GuardOptions struct {
	// Audiences that the server accepts; none: those of its registration.
	Audiences []string
	// Scopes that every call needs.
	Scopes []string
	// Mode is GuardUnary, unless it is set.
	Mode GuardMode
	// Deadline of a verdict; zero: 2 s.
	Deadline time.Duration
	// Recheck is how often a long call is judged again; zero: 30 s; negative: never.
	Recheck time.Duration
	// MaxWaiting is how many calls may wait for a verdict with GuardStream; zero: 1000.
	MaxWaiting int
	// Except lists what is not guarded: full names of gRPC methods, as /grpc.health.v1.Health/Check, and paths of HTTP.
	Except []string
}

// Guard judges the token of each call. It is safe for use by several goroutines. No verdict is kept for another call.
type Guard struct {
	client   *Client
	options  GuardOptions
	pipeline *pipeline
	// deadlines of verdicts.
	deadlines deadlines

	lock       sync.Mutex
	complained map[string]time.Time
}

// NewGuard returns a guard. It makes no call.
func NewGuard(client *Client, options GuardOptions) *Guard {
	if options.Deadline <= 0 {
		options.Deadline = 2 * time.Second
	}
	if options.Recheck == 0 {
		options.Recheck = defaultRecheck
	}
	if options.MaxWaiting <= 0 {
		options.MaxWaiting = 1000
	}
	made := &Guard{client: client, options: options, complained: map[string]time.Time{}}
	made.deadlines.after = options.Deadline
	if options.Mode == GuardStream {
		made.pipeline = newPipeline(client, options.MaxWaiting, options.Deadline)
	}
	return made
}

// Close ends the stream of verdicts, if there is one. Close the client after it.
func (g *Guard) Close() error {
	if g.pipeline != nil {
		g.pipeline.close()
	}
	g.deadlines.close()
	return nil
}

type verdictKey struct{}

// VerdictFromContext returns the verdict of the call that a guard let through.
func VerdictFromContext(ctx context.Context) (*Verdict, bool) {
	found, ok := ctx.Value(verdictKey{}).(*Verdict)
	return found, ok
}

// Judge returns the verdict of a token that passes. Otherwise the error is a Refused, which says what to answer. The
// thumbprint is that of the certificate that the token's bearer presented on this connection, if any: see Thumbprint.
func (g *Guard) Judge(ctx context.Context, token Secret, thumbprint string, scopes ...string) (*Verdict, error) {
	text := token.Reveal()
	if text == "" {
		return nil, newRefused(noToken, "The call carries no token. Send one as authorization: Bearer.")
	}
	if len(text) > longestToken || !isPrintable(text) {
		return nil, newRefused(malformed, "The token is MALFORMED. Send one that jeton issued.")
	}
	needed := g.options.Scopes
	if len(scopes) > 0 {
		needed = append(slices.Clip(needed), scopes...)
	}
	request := &jetonv1.ValidateRequest{
		Token: text, Audiences: g.options.Audiences, Scopes: needed, CertificateThumbprint: thumbprint,
	}
	within, stop := g.deadlines.begin(ctx)
	defer stop()
	message, err := g.ask(within, request)
	if err != nil {
		// Not of a caller that went away.
		if ctx.Err() == nil {
			g.complain(err)
		}
		return nil, withoutVerdict()
	}
	return g.passes(message, needed)
}

func (g *Guard) ask(ctx context.Context, request *jetonv1.ValidateRequest) (*jetonv1.Verdict, error) {
	if g.pipeline != nil {
		return g.pipeline.ask(ctx, request)
	}
	answer, err := g.client.TokenService().Validate(ctx, request)
	return answer.GetVerdict(), err
}

func (g *Guard) passes(message *jetonv1.Verdict, needed []string) (*Verdict, error) {
	switch current := message.GetStatus(); current {
	case jetonv1.TokenStatus_TOKEN_STATUS_ACTIVE:
		return verdict(message), nil
	case jetonv1.TokenStatus_TOKEN_STATUS_MISSING_SCOPE:
		return nil, missingScope(needed)
	default:
		name, known := jetonv1.TokenStatus_name[int32(current)]
		if !known || current == jetonv1.TokenStatus_TOKEN_STATUS_UNSPECIFIED {
			g.complain(errors.New("jeton answered a status of a token that this version does not know"))
			return nil, withoutVerdict()
		}
		name = strings.TrimPrefix(name, "TOKEN_STATUS_")
		return nil, newRefused(name, "The token is "+name+". Get another one.")
	}
}

// complain tells the log of the server what is wrong with the guard's own calls, once a minute for each reason.
func (g *Guard) complain(err error) {
	key := err.Error()
	log := g.client.log.Error
	var typed Error
	if errors.As(err, &typed) {
		key = typed.Reason() + typed.Code().String()
		if code := typed.Code(); code == codes.Unavailable || code == codes.DeadlineExceeded {
			log = g.client.log.Warn
		}
	}
	now := time.Now()
	g.lock.Lock()
	before, told := g.complained[key]
	if told && now.Sub(before) < complaintEvery {
		g.lock.Unlock()
		return
	}
	g.complained[key] = now
	g.lock.Unlock()
	log("calls are refused, because jeton gives the guard no verdict", "error", err.Error())
}

// Format prints the audiences, for every verb.
func (g *Guard) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, g.String()) }

func (g *Guard) String() string { return fmt.Sprintf("jeton.Guard(audiences %q)", g.options.Audiences) }

func (g *Guard) isExcepted(name string) bool { return slices.Contains(g.options.Except, name) }

// isPrintable tells whether a text is of ASCII's printable characters alone.
func isPrintable(text string) bool {
	for i := range len(text) {
		if text[i] < '!' || text[i] > '~' {
			return false
		}
	}
	return true
}

// bearer returns the token of the authorization of a call; zero if there is none. More than one counts as none.
func bearer(values []string) Secret {
	if len(values) != 1 {
		return Secret{}
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Secret{}
	}
	return NewSecret(strings.Trim(token, " "))
}

// Thumbprint returns that of the certificate that a peer presented (x5t#S256 of RFC 8705); empty if it presented none.
func Thumbprint(state *tls.ConnectionState) string {
	if state == nil || len(state.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(state.PeerCertificates[0].Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
