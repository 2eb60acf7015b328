package jeton

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

// route makes calls at the endpoints of one listener. Generated stubs stand on it.
type route struct {
	client *Client
	group  *group
	// rounds, if it is not zero, takes the place of those of the policy.
	rounds int
	// skip begins streams so many endpoints behind the current one.
	skip int
}

// Invoke makes a unary call: at each endpoint once, and then again as the policy of the method says.
func (r route) Invoke(ctx context.Context, path string, request, answer any, options ...grpc.CallOption) error {
	rules := policyOf(path)
	if r.rounds > 0 {
		rules.rounds = r.rounds
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, rules.timeout)
		defer cancel()
	}
	for round := 0; ; round++ {
		last, again := r.round(ctx, rules, path, request, answer, options)
		if last == nil {
			return nil
		}
		if !again || round+1 >= rules.rounds {
			return last
		}
		pause := rules.pause(round)
		if delay, ok := last.RetryAfter(); ok {
			pause = max(pause, delay)
		}
		if !sleep(ctx, pause) {
			return last
		}
	}
}

// round asks each endpoint once. It returns nil after a success, and whether another round may mend the error.
func (r route) round(
	ctx context.Context, rules policy, path string, request, answer any, options []grpc.CallOption,
) (Error, bool) {
	var last Error
	count := len(r.group.endpoints)
	first := int(r.group.current.Load())
	for step := range count {
		number := (first + step) % count
		deadline, _ := ctx.Deadline()
		left := time.Until(deadline)
		if left <= 0 || ctx.Err() != nil {
			if errors.Is(ctx.Err(), context.Canceled) || last == nil {
				return fromContext(ctx), false
			}
			return last, false
		}
		err, sent := r.once(ctx, left, count-step, rules, path, request, answer, options, number)
		if err == nil {
			r.group.current.Store(int32(number))
			return nil, false
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return fromContext(ctx), false
		}
		last = err
		if code := err.Code(); code != codes.Unavailable && code != codes.DeadlineExceeded {
			if _, closed := err.(*Closed); !closed {
				r.group.current.Store(int32(number))
			}
			return err, false
		}
		if !rules.repeats && sent {
			return err, false
		}
	}
	return last, true
}

// once asks one endpoint, for its share of the time that is left. It tells whether anything can have been sent.
func (r route) once(
	ctx context.Context, left time.Duration, shares int, rules policy,
	path string, request, answer any, options []grpc.CallOption, number int,
) (Error, bool) {
	at := r.group.endpoints[number]
	if shares > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, left/time.Duration(shares))
		defer cancel()
	}
	one, authorization, err := r.client.connections.take(at)
	if err != nil {
		return fromStatus(err, at), false
	}
	defer r.client.connections.giveBack(one)
	if !rules.repeats && !one.connect(ctx) {
		if r.client.connections.isClosed() {
			return newClosed("client"), false
		}
		if ctx.Err() != nil {
			return newNotConnected(at), false
		}
		return newUnreachable(at, ""), false
	}
	err = one.conn.Invoke(withAuthorization(ctx, authorization), path, request, answer, options...)
	if err == nil {
		return nil, true
	}
	return r.client.failed(ctx, err, at, one), true
}

// failed gives an error of a call its type.
func (c *Client) failed(ctx context.Context, err error, at endpoint, one *lane) Error {
	typed := fromStatus(err, at)
	if typed.Code() == codes.Canceled && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		// What gRPC derives from a deadline of this package says that it was cancelled.
		typed = newDeadlineExceeded(context.DeadlineExceeded)
	}
	switch typed.Code() {
	case codes.Canceled:
		if c.connections.isClosed() {
			return newClosed("client")
		}
	case codes.DeadlineExceeded:
		if typed.Reason() == "" && !one.isConnected() {
			return newNotConnected(at)
		}
	}
	return typed
}

// NewStream opens a stream at the current endpoint. It is not repeated.
func (r route) NewStream(
	ctx context.Context, description *grpc.StreamDesc, path string, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	at := r.group.endpoints[r.group.at(r.skip)]
	one, authorization, err := r.client.connections.take(at)
	if err != nil {
		return nil, fromStatus(err, at)
	}
	stream, err := one.conn.NewStream(withAuthorization(ctx, authorization), description, path, options...)
	if err != nil {
		defer r.client.connections.giveBack(one)
		return nil, r.client.failed(ctx, err, at, one)
	}
	// gRPC ends the context of a stream with the stream.
	context.AfterFunc(stream.Context(), func() { r.client.connections.giveBack(one) })
	return &typedStream{ClientStream: stream, client: r.client, at: at, lane: one}, nil
}

func withAuthorization(ctx context.Context, authorization Secret) context.Context {
	if authorization.IsZero() {
		return ctx
	}
	if given, ok := metadata.FromOutgoingContext(ctx); ok && len(given["authorization"]) > 0 {
		// That of another call, which is being served, is not for jeton.
		given.Delete("authorization")
		ctx = metadata.NewOutgoingContext(ctx, given)
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", authorization.Reveal())
}

func fromContext(ctx context.Context) Error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return &UnexpectedError{failure{code: codes.Canceled, message: "The call was cancelled.", cause: context.Canceled}}
	}
	return newDeadlineExceeded(context.DeadlineExceeded)
}

// sleep waits, unless the context ends before; then it returns false at once.
func sleep(ctx context.Context, pause time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
