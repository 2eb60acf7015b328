package jeton

import (
	"context"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// ServerOptions put the guard before all handlers of a gRPC server.
func (g *Guard) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(g.UnaryServerInterceptor()),
		grpc.ChainStreamInterceptor(g.StreamServerInterceptor()),
	}
}

// UnaryServerInterceptor judges each call. Handlers find the verdict by VerdictFromContext.
func (g *Guard) UnaryServerInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if g.isExcepted(info.FullMethod) {
			return handler(ctx, request)
		}
		token, thumbprint := presented(ctx)
		found, err := g.Judge(ctx, token, thumbprint)
		if err != nil {
			return nil, err
		}
		return handler(context.WithValue(ctx, verdictKey{}, found), request)
	}
}

// StreamServerInterceptor judges each stream when it begins and again each Recheck. When it does not pass any more, the
// stream ends with the guard's answer, and the context of the handler ends.
func (g *Guard) StreamServerInterceptor() grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if g.isExcepted(info.FullMethod) {
			return handler(server, stream)
		}
		token, thumbprint := presented(stream.Context())
		found, err := g.Judge(stream.Context(), token, thumbprint)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancelCause(context.WithValue(stream.Context(), verdictKey{}, found))
		defer cancel(nil)

		// The handler has a goroutine of its own: it may wait for its peer, and the stream must end nevertheless. What it
		// waits for ends with the stream.
		ended := make(chan ending, 1)
		go func() {
			ended <- run(func() error { return handler(server, &judgedStream{ServerStream: stream, ctx: ctx}) })
		}()
		refusals := make(chan *Refused, 1)
		plan := g.newWatch(found)
		go func() { refusals <- g.watchOver(ctx, plan, token, thumbprint, nil) }()

		for {
			select {
			case end := <-ended:
				if end.panicked != nil {
					// For those who recover around this interceptor.
					panic(end.panicked)
				}
				return end.err
			case refused := <-refusals:
				if refused != nil {
					cancel(refused)
					return refused
				}
				// The call ended by itself; the handler hears of it by its context.
				refusals = nil
			}
		}
	}
}

type ending struct {
	err      error
	panicked any
}

// run keeps a panic of a handler, so that it can go on in the goroutine of gRPC.
func run(handler func() error) (end ending) {
	returned := false
	defer func() {
		if returned {
			return
		}
		cause := recover()
		if cause == nil {
			end.err = status.Error(codes.Unknown, "The handler ended its goroutine.")
			return
		}
		end.panicked = fmt.Sprintf("%v\n\n%s", cause, debug.Stack())
	}()
	end.err = handler()
	returned = true
	return end
}

// judgedStream has the verdict in its context, and sends nothing after a refusal.
type judgedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (j *judgedStream) Context() context.Context { return j.ctx }

func (j *judgedStream) SendMsg(message any) error {
	if j.ctx.Err() != nil {
		return context.Cause(j.ctx)
	}
	return j.ServerStream.SendMsg(message)
}

func (j *judgedStream) RecvMsg(message any) error {
	if j.ctx.Err() != nil {
		return context.Cause(j.ctx)
	}
	return j.ServerStream.RecvMsg(message)
}

// presented is what the peer of a call presented: a token, and the thumbprint of a certificate.
func presented(ctx context.Context) (Secret, string) {
	token := bearer(metadata.ValueFromIncomingContext(ctx, "authorization"))
	if from, ok := peer.FromContext(ctx); ok {
		if info, ok := from.AuthInfo.(credentials.TLSInfo); ok {
			return token, Thumbprint(&info.State)
		}
	}
	return token, ""
}
