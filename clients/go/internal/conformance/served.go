package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/structpb"

	"go.jeton.dev/jeton"
	conformancev1 "go.jeton.dev/jeton/internal/conformance/gen/jeton/conformance/v1"
)

type echo struct {
	conformancev1.UnimplementedEchoServiceServer
}

func (echo) Echo(ctx context.Context, request *conformancev1.EchoRequest) (*conformancev1.EchoResponse, error) {
	verdict, _ := jeton.VerdictFromContext(ctx)
	claims, err := structpb.NewStruct(verdict.Claims())
	return &conformancev1.EchoResponse{
		Text: request.GetText(), Subject: verdict.Subject, Audiences: verdict.Audiences, Scopes: verdict.Scopes,
		Jti: verdict.JTI, SessionId: verdict.SessionID, ClientId: verdict.ClientID, Claims: claims,
	}, err
}

func (echo) Watch(_ *conformancev1.WatchRequest, stream grpc.ServerStreamingServer[conformancev1.WatchResponse]) error {
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for number := int64(1); ; number++ {
		if err := stream.Send(&conformancev1.WatchResponse{Number: number}); err != nil {
			return err
		}
		select {
		case <-every.C:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func page(w http.ResponseWriter, request *http.Request) {
	verdict, _ := jeton.VerdictFromContext(request.Context())
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"subject": verdict.Subject, "audiences": verdict.Audiences, "scopes": verdict.Scopes, "jti": verdict.JTI,
		"session_id": verdict.SessionID, "client_id": verdict.ClientID, "claims": verdict.Claims(),
	})
}

func (r *runner) newGuard(client *jeton.Client, given *command) (map[string]any, error) {
	var arguments struct {
		Audiences  []string `json:"audiences"`
		Scopes     []string `json:"scopes"`
		Mode       string   `json:"mode"`
		MaxWaiting int      `json:"max_waiting"`
		Recheck    float64  `json:"recheck_s"`
		TLS        *struct {
			CertFile     string `json:"cert_file"`
			KeyFile      string `json:"key_file"`
			ClientCAFile string `json:"client_ca_file"`
		} `json:"tls"`
	}
	if err := given.into(&arguments); err != nil {
		return nil, err
	}
	mode := map[string]jeton.GuardMode{"unary": jeton.GuardUnary, "stream": jeton.GuardStream}[arguments.Mode]
	guard := jeton.NewGuard(client, jeton.GuardOptions{
		Audiences: arguments.Audiences, Scopes: arguments.Scopes, Mode: mode, MaxWaiting: arguments.MaxWaiting,
		Deadline: seconds(given.Within), Recheck: seconds(arguments.Recheck),
	})
	options := guard.ServerOptions()
	if arguments.TLS != nil {
		certificate, err := tls.LoadX509KeyPair(arguments.TLS.CertFile, arguments.TLS.KeyFile)
		if err != nil {
			return nil, err
		}
		authority, err := os.ReadFile(arguments.TLS.ClientCAFile)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authority)
		options = append(options, grpc.Creds(credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{certificate}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		})))
	}
	addresses := map[string]any{}
	listen := func(name string) (net.Listener, error) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			addresses[name] = listener.Addr().String()
		}
		return listener, err
	}
	grpcListener, err := listen("grpc")
	if err != nil {
		return nil, err
	}
	httpListener, err := listen("http")
	if err != nil {
		return nil, err
	}
	grpcServer := grpc.NewServer(options...)
	conformancev1.RegisterEchoServiceServer(grpcServer, echo{})
	go func() { _ = grpcServer.Serve(grpcListener) }()

	pages := http.NewServeMux()
	pages.HandleFunc("GET /echo", page)
	httpServer := &http.Server{Handler: guard.Handler(pages), ReadHeaderTimeout: time.Minute}
	go func() { _ = httpServer.Serve(httpListener) }()

	r.lock.Lock()
	defer r.lock.Unlock()
	r.stops = append(r.stops, func() {
		grpcServer.Stop()
		_ = httpServer.Close()
		_ = guard.Close()
	})
	return addresses, nil
}
