package jeton_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"go.jeton.dev/jeton"
	conformancev1 "go.jeton.dev/jeton/internal/conformance/gen/jeton/conformance/v1"
	"go.jeton.dev/jeton/internal/leak"
	"go.jeton.dev/jeton/jetontest"
)

func TestAnInterceptorRepeatsOnceWithAnotherToken(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	source := newSource(t, server, jeton.TokenOptions{})
	stub := dial(t, newGuard(t, server, jeton.GuardOptions{}), echo{}, source.DialOptions()...)
	first := get(t, source)
	server.RevokeToken(first.JTI)
	answer, err := stub.Echo(ctx, &conformancev1.EchoRequest{})
	if err != nil || answer.GetJti() == first.JTI || server.Calls("Issue") != 2 || server.Calls("Validate") != 2 {
		t.Fatalf("it is %v, after %d tokens and %d verdicts", err, server.Calls("Issue"), server.Calls("Validate"))
	}
}

func TestRefusalsMakeNoStorm(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	source := newSource(t, server, jeton.TokenOptions{})
	refusing := grpc.WithChainUnaryInterceptor(func(
		context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker, ...grpc.CallOption,
	) error {
		return status.Error(codes.Unauthenticated, "no")
	})
	stub := dial(t, nil, echo{}, append(source.DialOptions(), refusing)...)
	for range 50 {
		if _, err := stub.Echo(ctx, &conformancev1.EchoRequest{}); status.Code(err) != codes.Unauthenticated {
			t.Fatalf("it is %v", err)
		}
	}
	if server.Calls("Issue") != 6 {
		t.Fatalf("there were %d renewals", server.Calls("Issue"))
	}
	server.Advance(11 * time.Second)
	_, _ = stub.Echo(ctx, &conformancev1.EchoRequest{})
	if server.Calls("Issue") != 7 {
		t.Fatalf("there were %d renewals", server.Calls("Issue"))
	}
}

func TestAStreamAfterARefusalHasAnotherToken(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	source := newSource(t, server, jeton.TokenOptions{})
	stub := dial(t, newGuard(t, server, jeton.GuardOptions{}), echo{}, source.DialOptions()...)
	first := get(t, source)
	server.RevokeToken(first.JTI)
	stream, err := stub.Watch(ctx, &conformancev1.WatchRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if reasonOf(err) != "REVOKED" {
		t.Fatalf("it is %v", err)
	}
	until(t, "another token", func() bool { return get(t, source) != first })
}

func TestCredentialsStayOffPlaintext(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	source := newSource(t, server, jeton.TokenOptions{})
	if _, err := source.GetRequestMetadata(ctx, "https://orders.example/service"); status.Code(err) != codes.PermissionDenied {
		t.Fatalf("it is %v", err)
	}
	found, err := source.GetRequestMetadata(ctx, "https://127.0.0.1:80/service")
	if err != nil || found["authorization"] != "Bearer "+get(t, source).Reveal() {
		t.Fatalf("it is %v", err)
	}
	request, _ := http.NewRequest(http.MethodGet, "http://orders.example", nil)
	var invalid *jeton.EndpointInvalid
	if _, err := source.RoundTripper(nil).RoundTrip(request); !errors.As(err, &invalid) {
		t.Fatalf("it is %v", err)
	}
}

func TestRoundTripper(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	source := newSource(t, server, jeton.TokenOptions{})
	guard := newGuard(t, server, jeton.GuardOptions{})
	web := httptest.NewServer(guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		_, _ = io.Copy(w, request.Body)
	})))
	defer web.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: source.RoundTripper(transport)}
	for range 2 {
		answer, err := client.Post(web.URL, "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != 200 || string(text) != "hello" {
			t.Fatalf("it is %d, %s", answer.StatusCode, text)
		}
		server.RevokeToken(get(t, source).JTI)
	}
	if server.Calls("Issue") != 2 {
		t.Fatalf("there were %d tokens", server.Calls("Issue"))
	}
	// A body that cannot be had again: the refusal is the answer.
	request, _ := http.NewRequest(http.MethodPost, web.URL, io.MultiReader(strings.NewReader("once")))
	answer, err := client.Do(request)
	if err != nil || answer.StatusCode != 401 {
		t.Fatalf("it is %v", err)
	}
	_ = answer.Body.Close()
}

func TestARedirectToAnotherHostGetsNoToken(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	source := newSource(t, server, jeton.TokenOptions{})
	seen := make(chan string, 1)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		seen <- request.Header.Get("Authorization")
	}))
	defer other.Close()
	web := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer web.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: source.RoundTripper(transport)}).Get(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if got := <-seen; got != "" {
		t.Fatal("the other host got a token")
	}
}
