package jeton_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"go.jeton.dev/jeton"
	jetonv1 "go.jeton.dev/jeton/gen/jeton/v1"
	"go.jeton.dev/jeton/internal/leak"
	"go.jeton.dev/jeton/jetontest"
)

const goodKey = "jtk_abc_0123456789abcdefghijkl"

func TestEndpoints(t *testing.T) {
	good := []string{
		"https://jeton.example", "https://jeton.example:7070", "http://127.0.0.1:7070", "http://[::1]:1", "https://[fe80::1]",
		"http://localhost:80/",
	}
	bad := []string{
		"", "jeton.example:7070", "ftp://h", "https://", "https://u:hidden@h", "https://h/hidden", "https://h?hidden", "https://h#hidden",
		"https://h:0", "https://h:65536", "https://h:+1", "https://h:", "https://[::1", "https://[1.2.3.4]", "https://h i", "https://h:1:2",
		"http://jeton.example",
	}
	for _, text := range good {
		client, err := jeton.NewClient(jeton.Config{Endpoints: []string{text}, APIKey: jeton.NewSecret(goodKey)})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		_ = client.Close()
	}
	for _, text := range bad {
		_, err := jeton.NewClient(jeton.Config{Endpoints: []string{text}, APIKey: jeton.NewSecret(goodKey)})
		var invalid *jeton.EndpointInvalid
		if !errors.As(err, &invalid) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := jeton.NewClient(jeton.Config{}); err == nil {
		t.Error("no endpoint is taken")
	}
}

func TestCredentials(t *testing.T) {
	directory := t.TempDir()
	file := filepath.Join(directory, "key")
	if err := os.WriteFile(file, []byte("no key at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]jeton.Config{
		"no key":           {APIKey: jeton.NewSecret("no key at all")},
		"no key in a file": {APIKeyFile: file},
		"no file":          {APIKeyFile: filepath.Join(directory, "absent")},
		"two keys":         {APIKey: jeton.NewSecret(goodKey), APIKeyFile: file},
		"no authority":     {CAFile: file},
		"half a pair":      {CertFile: file},
		"no pair":          {CertFile: file, KeyFile: file},
	} {
		config.Endpoints = []string{"https://h"}
		_, err := jeton.NewClient(config)
		var invalid *jeton.CredentialInvalid
		if !errors.As(err, &invalid) || strings.Contains(err.Error(), "no key at all") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	leak.Check(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	client, err := jeton.NewClient(jeton.Config{Endpoints: []string{"http://" + address}, APIKey: jeton.NewSecret(goodKey)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.TokenService().GetCaller(ctx, &jetonv1.GetCallerRequest{})
	var unreachable *jeton.Unreachable
	if !errors.As(err, &unreachable) || unreachable.Endpoint != "http://"+address || !strings.Contains(err.Error(), "nothing listens") {
		t.Fatalf("it is %v", err)
	}
	_ = client.Close()
	var closed *jeton.Closed
	if _, err = client.TokenService().GetCaller(ctx, &jetonv1.GetCallerRequest{}); !errors.As(err, &closed) {
		t.Fatalf("it is %v", err)
	}
}

func TestAnHTTPServerIsNoJeton(t *testing.T) {
	leak.Check(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			one, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprint(one, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			_ = one.Close()
		}
	}()
	client, err := jeton.NewClient(jeton.Config{Endpoints: []string{"http://" + listener.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.TokenService().GetCaller(ctx, &jetonv1.GetCallerRequest{})
	var other *jeton.NotJeton
	var unreachable *jeton.Unreachable
	// Which of the two depends on whether the answer or the end of the connection is seen first.
	if !errors.As(err, &other) && !errors.As(err, &unreachable) {
		t.Fatalf("it is %v", err)
	}
}

func TestEveryReasonIsTyped(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	for number, name := range jetonv1.ErrorReason_name {
		if number == 0 {
			continue
		}
		reason := strings.TrimPrefix(name, "ERROR_REASON_")
		server.Refuse("GetCaller", codes.FailedPrecondition, reason, map[string]string{"some": "thing"})
		_, err := server.Client().TokenService().GetCaller(ctx, &jetonv1.GetCallerRequest{})
		var typed jeton.Error
		if !errors.As(err, &typed) || typed.Reason() != reason || typed.Metadata()["some"] != "thing" {
			t.Errorf("%s: %#v", reason, err)
		}
		if _, unknown := err.(*jeton.UnknownReason); unknown {
			t.Errorf("%s has no type", reason)
		}
		if status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: gRPC sees %v", reason, status.Code(err))
		}
	}
	server.Refuse("GetCaller", codes.FailedPrecondition, "OF_A_NEWER_SERVER", nil)
	_, err := server.Client().TokenService().GetCaller(ctx, &jetonv1.GetCallerRequest{})
	var unknown *jeton.UnknownReason
	if !errors.As(err, &unknown) {
		t.Errorf("it is %#v", err)
	}
}

func TestMetadataOfAnotherFormIsUnset(t *testing.T) {
	server := jetontest.New(t)
	for _, text := range []string{"", "much", "1e300", "-1e300", "NaN"} {
		server.Refuse("GetCaller", codes.InvalidArgument, "TTL_EXCEEDS_MAXIMUM", map[string]string{"maxTtlSeconds": text})
		_, err := server.Client().TokenService().GetCaller(ctx, &jetonv1.GetCallerRequest{})
		var long *jeton.TTLExceedsMaximum
		if !errors.As(err, &long) || long.MaxTTL != 0 {
			t.Errorf("%q: %#v", text, err)
		}
	}
}

func TestPointsInTimeAreTyped(t *testing.T) {
	server := jetontest.New(t)
	told := map[string]string{"untilTime": "2026-01-02T03:04:05Z"}
	want := time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)
	server.Refuse("GetCaller", codes.PermissionDenied, "SUBJECT_LOCKED", told)
	_, err := server.Client().TokenService().GetCaller(ctx, &jetonv1.GetCallerRequest{})
	var subject *jeton.SubjectLocked
	if !errors.As(err, &subject) || !subject.UntilTime.Equal(want) {
		t.Errorf("it is %#v", err)
	}
	server.Refuse("GetCaller", codes.PermissionDenied, "CLIENT_LOCKED", told)
	_, err = server.Client().TokenService().GetCaller(ctx, &jetonv1.GetCallerRequest{})
	var locked *jeton.ClientLocked
	if !errors.As(err, &locked) || !locked.UntilTime.Equal(want) {
		t.Errorf("it is %#v", err)
	}
}

func TestTheWholeLifeOfAToken(t *testing.T) {
	leak.Check(t)
	server := jetontest.New(t)
	client := server.Client()
	issued, err := client.Issue(ctx, jeton.IssueRequest{
		Subject: "svc:a", Audiences: []string{"orders"}, Claims: map[string]any{"tenant": "north"}, TTL: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	verdict, err := client.Validate(ctx, jeton.ValidateRequest{Token: issued.AccessToken, Audiences: []string{"orders"}})
	if err != nil || !verdict.IsActive() || verdict.Claims()["tenant"] != "north" || verdict.JTI != issued.JTI {
		t.Fatalf("it is %+v, %v", verdict, err)
	}
	if _, err := client.RevokeToken(ctx, issued.AccessToken, jetonv1.RevocationReason_REVOCATION_REASON_LOGOUT, ""); err != nil {
		t.Fatal(err)
	}
	all, err := client.BatchValidate(ctx, []jeton.ValidateRequest{{Token: issued.AccessToken}, {Token: jeton.NewSecret("x")}})
	if err != nil || len(all) != 2 || all[0].Status != jetonv1.TokenStatus_TOKEN_STATUS_REVOKED {
		t.Fatalf("it is %+v, %v", all, err)
	}
	if _, err := client.Issue(ctx, jeton.IssueRequest{Claims: map[string]any{"c": make(chan int)}}); err == nil {
		t.Fatal("a claim that is none of JSON is taken")
	}
}
