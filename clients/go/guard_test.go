package jeton_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"go.jeton.dev/jeton"
	conformancev1 "go.jeton.dev/jeton/internal/conformance/gen/jeton/conformance/v1"
	"go.jeton.dev/jeton/internal/leak"
	"go.jeton.dev/jeton/jetontest"
)

// echo is a service behind a guard. Its stream sends as fast as it can, or waits for nothing that comes.
type echo struct {
	conformancev1.UnimplementedEchoServiceServer
	silent chan struct{}
	panics bool
	ended  chan error
}

func (echo) Echo(ctx context.Context, request *conformancev1.EchoRequest) (*conformancev1.EchoResponse, error) {
	verdict, ok := jeton.VerdictFromContext(ctx)
	if !ok {
		return nil, errors.New("there is no verdict")
	}
	if request.GetText() == "write" {
		if err := verdict.Require("write"); err != nil {
			return nil, err
		}
	}
	return &conformancev1.EchoResponse{Text: request.GetText(), Subject: verdict.Subject, Jti: verdict.JTI}, nil
}

func (e echo) Watch(_ *conformancev1.WatchRequest, stream grpc.ServerStreamingServer[conformancev1.WatchResponse]) error {
	if e.panics {
		panic("the handler panics")
	}
	if e.silent != nil {
		<-e.silent
		return nil
	}
	for {
		if err := stream.Send(&conformancev1.WatchResponse{}); err != nil {
			if e.ended != nil {
				e.ended <- err
			}
			return err
		}
	}
}

func dial(t *testing.T, guard *jeton.Guard, service echo, options ...grpc.DialOption) conformancev1.EchoServiceClient {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	recovering := func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
		defer func() {
			if recover() != nil {
				err = status.Error(codes.Internal, "recovered")
			}
		}()
		return next(server, stream)
	}
	all := []grpc.ServerOption{grpc.ChainStreamInterceptor(recovering)}
	if guard != nil {
		all = append(all, guard.ServerOptions()...)
	}
	server := grpc.NewServer(all...)
	conformancev1.RegisterEchoServiceServer(server, service)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	channel, err := grpc.NewClient("passthrough:///localhost", options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = channel.Close() })
	return conformancev1.NewEchoServiceClient(channel)
}

func newGuard(t *testing.T, server *jetontest.Server, options jeton.GuardOptions) *jeton.Guard {
	t.Helper()
	options.Audiences = []string{"orders"}
	guard := jeton.NewGuard(server.Client(), options)
	t.Cleanup(func() { _ = guard.Close() })
	return guard
}

func carrying(token jeton.Secret) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token.Reveal())
}

func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return status.Code(err).String()
}

var orders = jeton.IssueRequest{Subject: "svc:a", Audiences: []string{"orders"}, Scopes: []string{"read"}}

func TestGuardOfUnaryCalls(t *testing.T) {
	for name, mode := range map[string]jeton.GuardMode{"unary": jeton.GuardUnary, "stream": jeton.GuardStream} {
		t.Run(name, func(t *testing.T) {
			leak.Check(t)
			server := jetontest.New(t)
			guard := newGuard(t, server, jeton.GuardOptions{Mode: mode})
			stub := dial(t, guard, echo{})
			good := server.Issue(orders)
			call := func(ctx context.Context, text string) (string, error) {
				answer, err := stub.Echo(ctx, &conformancev1.EchoRequest{Text: text})
				return answer.GetSubject(), err
			}
			if subject, err := call(carrying(good), ""); err != nil || subject != "svc:a" {
				t.Fatalf("it is %q, %v", subject, err)
			}
			if _, err := call(carrying(good), "write"); reasonOf(err) != "MISSING_SCOPE" || status.Code(err) != codes.PermissionDenied {
				t.Fatalf("it is %v", err)
			}
			verdict, err := guard.Judge(ctx, good, "")
			if err != nil {
				t.Fatal(err)
			}
			twice := metadata.AppendToOutgoingContext(carrying(good), "authorization", "Bearer "+good.Reveal())
			basic := metadata.AppendToOutgoingContext(ctx, "authorization", "Basic eDp5")
			server.RevokeToken(verdict.JTI)
			for want, with := range map[string]context.Context{
				"REVOKED": carrying(good), "MALFORMED": carrying(jeton.NewSecret(strings.Repeat("x", 9000))),
			} {
				if _, err := call(with, ""); reasonOf(err) != want || status.Code(err) != codes.Unauthenticated {
					t.Fatalf("%s: it is %v", want, err)
				}
			}
			for _, with := range []context.Context{ctx, twice, basic} {
				if _, err := call(with, ""); reasonOf(err) != "NO_TOKEN" || status.Code(err) != codes.Unauthenticated {
					t.Fatalf("it is %v", err)
				}
			}
			server.SetAway(true)
			if _, err := call(carrying(server.Issue(orders)), ""); reasonOf(err) != "NO_VERDICT" || status.Code(err) != codes.Unavailable {
				t.Fatalf("it is %v", err)
			}
			server.SetAway(false)
			if _, err := call(carrying(server.Issue(orders)), ""); err != nil {
				t.Fatalf("it is %v", err)
			}
		})
	}
}

func TestEachCallGetsTheVerdictOfItsOwnToken(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	guard := newGuard(t, server, jeton.GuardOptions{Mode: jeton.GuardStream, Deadline: 30 * time.Second})
	var calls sync.WaitGroup
	for number := range 300 {
		calls.Go(func() {
			request := orders
			request.Subject = "svc:" + string(rune('a'+number%20))
			verdict, err := guard.Judge(ctx, server.Issue(request), "")
			if err != nil || verdict.Subject != request.Subject {
				t.Errorf("it is %+v, %v", verdict, err)
			}
			if number%50 == 0 {
				server.SetAway(true)
				server.SetAway(false)
			}
		})
	}
	calls.Wait()
}

func TestAStreamEndsWithItsToken(t *testing.T) {
	for name, service := range map[string]echo{
		"busy": {ended: make(chan error, 1)}, "silent": {silent: make(chan struct{})},
	} {
		t.Run(name, func(t *testing.T) {
			leak.Check(t)
			if service.silent != nil {
				defer close(service.silent)
			}
			server := jetontest.New(t)
			guard := newGuard(t, server, jeton.GuardOptions{Recheck: time.Minute})
			stub := dial(t, guard, service)
			request := orders
			request.TTL = 150 * time.Second
			stream, err := stub.Watch(carrying(server.Issue(request)), &conformancev1.WatchRequest{})
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error)
			go func() {
				for {
					if _, err := stream.Recv(); err != nil {
						ended <- err
						return
					}
				}
			}()
			until(t, "the first verdict", func() bool { return server.Calls("Validate") == 1 })
			for calls := 2; calls <= 3; calls++ {
				until(t, "a later verdict", func() bool {
					server.Advance(time.Second)
					return server.Calls("Validate") == calls
				})
			}
			until(t, "its end", func() bool {
				server.Advance(time.Second)
				select {
				case err = <-ended:
					return true
				default:
					return false
				}
			})
			if reasonOf(err) != "EXPIRED" || status.Code(err) != codes.Unauthenticated {
				t.Fatalf("it is %v", err)
			}
			if service.ended != nil {
				<-service.ended
			}
		})
	}
}

func TestAStreamWithoutVerdictsEnds(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	stub := dial(t, newGuard(t, server, jeton.GuardOptions{Recheck: time.Minute}), echo{})
	stream, err := stub.Watch(carrying(server.Issue(orders)), &conformancev1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	server.SetAway(true)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				server.Advance(time.Second)
			}
		}
	}()
	for err == nil {
		_, err = stream.Recv()
	}
	if reasonOf(err) != "NO_VERDICT" || server.Calls("Validate") < 10 {
		t.Fatalf("it is %v, after %d calls", err, server.Calls("Validate"))
	}
}

func TestAPanicReachesTheInterceptorsAround(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	stub := dial(t, newGuard(t, server, jeton.GuardOptions{}), echo{panics: true})
	stream, err := stub.Watch(carrying(server.Issue(orders)), &conformancev1.WatchRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Internal {
		t.Fatalf("it is %v", err)
	}
}

func TestExceptedMethodsAreNotGuarded(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	stub := dial(t, newGuard(t, server, jeton.GuardOptions{Except: []string{"/jeton.conformance.v1.EchoService/Echo"}}), echo{})
	if _, err := stub.Echo(ctx, &conformancev1.EchoRequest{}); !strings.Contains(status.Convert(err).Message(), "no verdict") {
		t.Fatalf("it is %v", err)
	}
}

func TestGuardOfHTTP(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	guard := newGuard(t, server, jeton.GuardOptions{Except: []string{"/healthz"}})
	page := http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if verdict, ok := jeton.VerdictFromContext(request.Context()); ok {
			_, _ = io.WriteString(w, verdict.Subject)
		}
	})
	get := func(handler http.Handler, path string, headers ...string) *http.Response {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		for _, one := range headers {
			request.Header.Add("Authorization", one)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		return answer.Result()
	}
	good := "bearer " + server.Issue(orders).Reveal()
	if answer := get(guard.Handler(page), "/", good); answer.StatusCode != 200 {
		t.Fatalf("it is %d", answer.StatusCode)
	}
	if answer := get(guard.Handler(page), "/healthz"); answer.StatusCode != 200 {
		t.Fatalf("it is %d", answer.StatusCode)
	}
	for _, one := range []struct {
		answer    *http.Response
		status    int
		challenge string
	}{
		{get(guard.Handler(page), "/"), 401, "Bearer"},
		{get(guard.Handler(page), "/", good, good), 401, "Bearer"},
		{get(guard.Handler(page), "/", "Bearer x"), 401, `Bearer error="invalid_token", error_description="`},
		{get(guard.Handler(page, "write"), "/", good), 403, `Bearer error="insufficient_scope", scope="write"`},
	} {
		if got := one.answer.Header.Get("Www-Authenticate"); one.answer.StatusCode != one.status || !strings.HasPrefix(got, one.challenge) {
			t.Errorf("it is %d, %s", one.answer.StatusCode, got)
		}
	}
	server.SetAway(true)
	if answer := get(guard.Handler(page), "/", good); answer.StatusCode != 503 || answer.Header.Get("Retry-After") != "1" {
		t.Fatalf("it is %d", answer.StatusCode)
	}
}

func TestALongAnswerIsBrokenOff(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	guard := newGuard(t, server, jeton.GuardOptions{Recheck: time.Minute})
	cause := make(chan error, 1)
	web := httptest.NewServer(guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-request.Context().Done()
		cause <- context.Cause(request.Context())
	})))
	defer web.Close()
	token := server.Issue(orders)
	verdict, err := guard.Judge(ctx, token, "")
	if err != nil {
		t.Fatal(err)
	}
	request, _ := http.NewRequest(http.MethodGet, web.URL, nil)
	request.Header.Set("Authorization", "Bearer "+token.Reveal())
	answer, err := web.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	server.RevokeToken(verdict.JTI)
	server.Advance(time.Minute)
	if _, err := io.ReadAll(answer.Body); err == nil {
		t.Fatal("the answer ends well")
	}
	var refused *jeton.Refused
	if err := <-cause; !errors.As(err, &refused) || refused.Reason != "REVOKED" {
		t.Fatalf("it is %v", err)
	}
}
