package jeton

import (
	"context"
	"net/url"
	"slices"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

var _ credentials.PerRPCCredentials = (*TokenSource)(nil)

// GetRequestMetadata makes the source a [credentials.PerRPCCredentials]. gRPC cannot repeat a call from its credentials:
// with DialOptions, a call whose token a peer refused is repeated.
func (s *TokenSource) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	if err := s.checkTransport(ctx, uri); err != nil {
		return nil, err
	}
	token, err := s.Get(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": token.authorization.Reveal()}, nil
}

// RequireTransportSecurity is false: GetRequestMetadata looks at the connection itself, and allows loopback.
func (s *TokenSource) RequireTransportSecurity() bool { return false }

// checkTransport keeps tokens from plaintext that leaves this machine.
func (s *TokenSource) checkTransport(ctx context.Context, uris []string) error {
	if s.options.AllowPlaintext {
		return nil
	}
	info, _ := credentials.RequestInfoFromContext(ctx)
	if info.AuthInfo != nil && credentials.CheckSecurityLevel(info.AuthInfo, credentials.PrivacyAndIntegrity) == nil {
		return nil
	}
	for _, uri := range uris {
		if parsed, err := url.Parse(uri); err != nil || !isLoopback(parsed.Hostname()) {
			return plaintext()
		}
	}
	return nil
}

func plaintext() error {
	message := "The token would go over plaintext. Use TLS, or AllowPlaintext within a mesh."
	return &EndpointInvalid{failure{code: codes.PermissionDenied, message: message}}
}

// fixed attaches one token, so that who attached it knows which one a peer refused.
type fixed struct {
	source *TokenSource
	token  *Token
}

func (f fixed) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	if err := f.source.checkTransport(ctx, uri); err != nil {
		return nil, err
	}
	return map[string]string{"authorization": f.token.authorization.Reveal()}, nil
}

func (f fixed) RequireTransportSecurity() bool { return false }

// DialOptions attach the source to a channel. Use them, or grpc.WithPerRPCCredentials(source), not both.
func (s *TokenSource) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(s.UnaryClientInterceptor()),
		grpc.WithChainStreamInterceptor(s.StreamClientInterceptor()),
	}
}

// UnaryClientInterceptor attaches a token to each call. A call whose token a peer refuses as expired or revoked, or without
// saying why, is repeated once with another token.
func (s *TokenSource) UnaryClientInterceptor() grpc.UnaryClientInterceptor {
	return func(
		ctx context.Context, method string, request, answer any,
		channel *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		token, err := s.Get(ctx)
		if err != nil {
			return err
		}
		with := func(token *Token) error {
			attached := append(slices.Clip(options), grpc.PerRPCCredentials(fixed{s, token}))
			return invoke(ctx, method, request, answer, channel, attached...)
		}
		err = with(token)
		if !anotherTokenMayHelp(err) {
			return err
		}
		if other := s.another(ctx, token); other != nil {
			return with(other)
		}
		return err
	}
}

// StreamClientInterceptor attaches a token to each stream. Streams are not repeated; one that begins after a refusal has
// another token.
func (s *TokenSource) StreamClientInterceptor() grpc.StreamClientInterceptor {
	return func(
		ctx context.Context, description *grpc.StreamDesc, channel *grpc.ClientConn, method string,
		open grpc.Streamer, options ...grpc.CallOption,
	) (grpc.ClientStream, error) {
		token, err := s.Get(ctx)
		if err != nil {
			return nil, err
		}
		attached := append(slices.Clip(options), grpc.PerRPCCredentials(fixed{s, token}))
		stream, err := open(ctx, description, channel, method, attached...)
		if err != nil {
			s.noteRefusal(err, token)
			return nil, err
		}
		return &attachedStream{ClientStream: stream, source: s, token: token}, nil
	}
}

type attachedStream struct {
	grpc.ClientStream
	source *TokenSource
	token  *Token
}

func (a *attachedStream) RecvMsg(message any) error {
	err := a.ClientStream.RecvMsg(message)
	if err != nil {
		a.source.noteRefusal(err, a.token)
	}
	return err
}

// noteRefusal renews the token that a peer refused, in the background.
func (s *TokenSource) noteRefusal(err error, token *Token) {
	if !anotherTokenMayHelp(err) {
		return
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.renewal.live() == token && s.renewal.refuse(token) {
		s.wake()
	}
}

// anotherTokenMayHelp tells whether a peer says that the token is expired or revoked, or does not say why it is refused.
func anotherTokenMayHelp(err error) bool {
	if status.Code(err) != codes.Unauthenticated {
		return false
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == guardDomain {
			return info.GetReason() == "EXPIRED" || info.GetReason() == "REVOKED"
		}
	}
	return true
}
