package jeton_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"go.jeton.dev/jeton"
	"go.jeton.dev/jeton/internal/clock"
	"go.jeton.dev/jeton/internal/double"
	"go.jeton.dev/jeton/internal/leak"
	"go.jeton.dev/jeton/jetontest"
)

var ctx = context.Background()

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come about: %s", what)
		}
	}
}

func newSource(t *testing.T, server *jetontest.Server, options jeton.TokenOptions) *jeton.TokenSource {
	t.Helper()
	if options.Subject == "" && options.RefreshToken.IsZero() {
		options.Subject = "svc:test"
	}
	options.Audiences = []string{"orders"}
	source, err := jeton.NewTokenSource(server.Client(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return source
}

func get(t *testing.T, source *jeton.TokenSource) *jeton.Token {
	t.Helper()
	token, err := source.Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// collect returns a receiver of events, and what it has received.
func collect() (func(jeton.Event), func() []jeton.EventKind) {
	var lock sync.Mutex
	var kinds []jeton.EventKind
	return func(event jeton.Event) {
			lock.Lock()
			defer lock.Unlock()
			kinds = append(kinds, event.Kind)
		}, func() []jeton.EventKind {
			lock.Lock()
			defer lock.Unlock()
			return slices.Clone(kinds)
		}
}

func TestRenewsInTheBackground(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	source := newSource(t, server, jeton.TokenOptions{TTL: time.Hour})
	if server.Calls("Issue") != 0 {
		t.Fatal("a source is made without any call")
	}
	first := get(t, source)
	server.Advance(47 * time.Minute)
	if get(t, source) != first || server.Calls("Issue") != 1 {
		t.Fatal("it is renewed before its time")
	}
	server.Advance(time.Minute)
	until(t, "a renewal", func() bool { return get(t, source) != first })
	if server.Calls("Issue") != 2 {
		t.Fatalf("there were %d calls", server.Calls("Issue"))
	}
}

func TestAShortTokenIsRenewedBeforeItIsToldToExpire(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	tell, kinds := collect()
	source := newSource(t, server, jeton.TokenOptions{TTL: 5 * time.Second, OnEvent: tell})
	get(t, source)
	server.Advance(2600 * time.Millisecond)
	want := []jeton.EventKind{jeton.EventRefreshed, jeton.EventRefreshed}
	until(t, "a renewal", func() bool { return slices.Equal(kinds(), want) })
}

func TestOneFlightForManyCallers(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	source := newSource(t, server, jeton.TokenOptions{})
	var calls sync.WaitGroup
	for range 100 {
		calls.Go(func() { _, _ = source.Get(ctx) })
	}
	calls.Wait()
	if server.Calls("Issue") != 1 {
		t.Fatalf("there were %d calls", server.Calls("Issue"))
	}
}

func TestFailuresAreHiddenWhileTheTokenLives(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	tell, kinds := collect()
	source := newSource(t, server, jeton.TokenOptions{TTL: time.Hour, OnEvent: tell})
	first := get(t, source)
	server.SetAway(true)
	server.Advance(50 * time.Minute)
	until(t, "an attempt", func() bool { return server.Calls("Issue") >= 2 })
	if get(t, source) != first {
		t.Fatal("the token in hand is not used")
	}
	server.Advance(6 * time.Minute)
	want := []jeton.EventKind{jeton.EventRefreshed, jeton.EventWillExpire}
	until(t, "will_expire", func() bool { return slices.Equal(kinds(), want) })

	server.Advance(time.Hour)
	until(t, "an attempt after its death", func() bool {
		within, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err := source.Get(within)
		var unreachable *jeton.Unreachable
		return errors.As(err, &unreachable)
	})
	server.SetAway(false)
	until(t, "a token", func() bool {
		server.Advance(time.Minute)
		within, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, err := source.Get(within)
		return err == nil
	})
}

// hanging takes calls, and answers none while it is told so.
type hanging struct {
	*jetontest.Server
	hangs atomic.Bool
}

func (h *hanging) Invoke(ctx context.Context, path string, request, answer any, options ...grpc.CallOption) error {
	if !h.hangs.Load() {
		return h.Server.Invoke(ctx, path, request, answer, options...)
	}
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

func TestWillExpireIsToldWhileAnAttemptHangs(t *testing.T) {
	leak.Check(t)
	server := &hanging{Server: jetontest.New(t)}
	manual := clock.NewManual()
	client := double.NewClient(server, manual).(*jeton.Client)
	defer client.Close()
	tell, kinds := collect()
	source, err := jeton.NewTokenSource(client, jeton.TokenOptions{
		Subject: "svc:test", Audiences: []string{"orders"}, TTL: time.Hour, OnEvent: tell,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	get(t, source)
	server.hangs.Store(true)
	manual.Advance(50 * time.Minute) // a renewal begins
	manual.Advance(5 * time.Minute)
	want := []jeton.EventKind{jeton.EventRefreshed, jeton.EventWillExpire}
	until(t, "will_expire", func() bool { return slices.Equal(kinds(), want) })
}

func TestLastingErrorsComeAtOnce(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	source := newSource(t, server, jeton.TokenOptions{TTL: 48 * time.Hour})
	_, err := source.Get(ctx)
	var long *jeton.TTLExceedsMaximum
	if !errors.As(err, &long) || long.MaxTTL != 24*time.Hour || long.RequestedTTL != 48*time.Hour || long.Audience != "orders" {
		t.Fatalf("it is %#v", err)
	}
	var any jeton.Error
	if !errors.As(err, &any) || any.Code() != codes.InvalidArgument || any.Reason() != "TTL_EXCEEDS_MAXIMUM" {
		t.Fatalf("it is %#v", err)
	}
}

func TestDeadlineAndCancellation(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	server.SetAway(true)
	source := newSource(t, server, jeton.TokenOptions{})
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := source.Get(cancelled); !errors.Is(err, context.Canceled) {
		t.Fatalf("it is %v", err)
	}
	within, cancel := context.WithTimeout(ctx, time.Nanosecond)
	defer cancel()
	_, err := source.Get(within)
	var unreachable *jeton.Unreachable
	if !errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &unreachable) {
		t.Fatalf("it is %v", err)
	}
}

func TestASessionEnds(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	tell, kinds := collect()
	file := filepath.Join(t.TempDir(), "session")
	source := newSource(t, server, jeton.TokenOptions{Refreshable: true, RefreshTokenFile: file, OnEvent: tell})
	first := get(t, source)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Fatalf("its mode is %v", info.Mode())
	}
	server.Advance(50 * time.Minute)
	until(t, "a Refresh", func() bool { return get(t, source) != first })
	if after, _ := os.ReadFile(file); string(after) == string(before) {
		t.Fatal("the successor is not kept")
	}
	server.RevokeSession(first.SessionID)
	server.Advance(50 * time.Minute)
	until(t, "the end", func() bool { return slices.Contains(kinds(), jeton.EventSessionEnded) })
	_, err = source.Get(ctx)
	var revoked *jeton.SessionRevoked
	if !errors.As(err, &revoked) || revoked.SessionID != first.SessionID {
		t.Fatalf("it is %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the file of the session is still there")
	}
	if server.Calls("Issue") != 1 {
		t.Fatal("a session that ended is not replaced by another")
	}
}

func TestARefreshTokenThatOthersCanReadIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "session")
	if err := os.WriteFile(file, []byte("jtr_x"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := jeton.NewTokenSource(jetontest.New(t).Client(), jeton.TokenOptions{RefreshTokenFile: file})
	var invalid *jeton.CredentialInvalid
	if !errors.As(err, &invalid) || invalid.File != file {
		t.Fatalf("it is %v", err)
	}
}

func TestOnRefreshTokenGetsEachSuccessor(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	opened, err := server.Client().Issue(ctx, jeton.IssueRequest{Subject: "a", Audiences: []string{"b"}, Refreshable: true})
	if err != nil {
		t.Fatal(err)
	}
	kept := make(chan jeton.Secret, 1)
	source := newSource(t, server, jeton.TokenOptions{
		RefreshToken:   opened.RefreshToken,
		OnRefreshToken: func(token jeton.Secret) error { kept <- token; return errors.New("the disk is full") },
	})
	get(t, source)
	if got := <-kept; got.IsZero() || got.Reveal() == opened.RefreshToken.Reveal() || server.Calls("Issue") != 1 {
		t.Fatal("it gets no successor")
	}
}

func TestAfterClose(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	server.SetAway(true)
	source := newSource(t, server, jeton.TokenOptions{})
	failed := make(chan error)
	go func() { _, err := source.Get(ctx); failed <- err }()
	until(t, "an attempt", func() bool { return server.Calls("Issue") > 0 })
	_ = source.Close()
	var closed *jeton.Closed
	if err := <-failed; !errors.As(err, &closed) {
		t.Fatalf("who waits gets %v", err)
	}
	if _, err := source.Get(ctx); !errors.As(err, &closed) {
		t.Fatalf("who comes later gets %v", err)
	}
	_ = source.Close()
}

func TestASlowReceiverHoldsUpNothing(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	goOn := make(chan struct{})
	defer close(goOn)
	source := newSource(t, server, jeton.TokenOptions{OnEvent: func(jeton.Event) { <-goOn }})
	for range 3 {
		before := get(t, source)
		server.Advance(50 * time.Minute)
		until(t, "a renewal", func() bool { return get(t, source) != before })
	}
}

func TestOAuth2(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	source := newSource(t, server, jeton.TokenOptions{})
	var standard oauth2.TokenSource = source
	token, err := standard.Token()
	if err != nil || token.AccessToken != get(t, source).Reveal() || !token.Valid() || token.Type() != "Bearer" {
		t.Fatalf("it is not usable: %v", err)
	}
}

func TestNothingPrintsATokenSourcesSecrets(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	source := newSource(t, server, jeton.TokenOptions{Refreshable: true})
	token := get(t, source)
	issued, err := server.Client().Issue(ctx, jeton.IssueRequest{Subject: "a", Audiences: []string{"b"}, Refreshable: true})
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{token.Reveal(), issued.AccessToken.Reveal(), issued.RefreshToken.Reveal()}
	request := jeton.RefreshRequest{RefreshToken: issued.RefreshToken}
	validate := jeton.ValidateRequest{Token: issued.AccessToken}
	printsNone(t, secrets, source, token, *token, server.Client(), issued, *issued, request, &validate)
	if text, _ := json.Marshal(issued); !json.Valid(text) {
		t.Fatal("it is no JSON")
	}
}
