package jetontest

import (
	"context"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	jetonv1 "go.jeton.dev/jeton/gen/jeton/v1"
)

// Invoke makes the double a channel: it serves the unary calls of TokenService.
func (s *Server) Invoke(ctx context.Context, path string, request, answer any, _ ...grpc.CallOption) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	method, err := s.begin(path)
	if err != nil {
		return err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	var found proto.Message
	switch request := request.(type) {
	case *jetonv1.IssueRequest:
		found, err = s.issue(request)
	case *jetonv1.RefreshRequest:
		found, err = s.refresh(request)
	case *jetonv1.ValidateRequest:
		found = &jetonv1.ValidateResponse{Verdict: s.judge(request)}
	case *jetonv1.BatchValidateRequest:
		all := &jetonv1.BatchValidateResponse{}
		for _, one := range request.GetRequests() {
			all.Verdicts = append(all.Verdicts, s.judge(one))
		}
		found = all
	case *jetonv1.RevokeRequest:
		found = s.revoke(request)
	case *jetonv1.GetCallerRequest:
		found = &jetonv1.GetCallerResponse{Client: &jetonv1.Client{ClientId: "double"}}
	default:
		return failed(codes.Unimplemented, "NOT_SERVED_HERE", map[string]string{"service": method, "listener": "double"}).Err()
	}
	if err != nil {
		return err
	}
	proto.Merge(answer.(proto.Message), found)
	return nil
}

// NewStream makes the double a channel: it serves StreamValidate.
func (s *Server) NewStream(
	ctx context.Context, _ *grpc.StreamDesc, path string, _ ...grpc.CallOption,
) (grpc.ClientStream, error) {
	method, err := s.begin(path)
	if err != nil {
		return nil, err
	}
	if method != "StreamValidate" {
		return nil, failed(codes.Unimplemented, "NOT_SERVED_HERE", map[string]string{"service": method, "listener": "double"}).Err()
	}
	made := &stream{server: s, more: make(chan struct{}, 1)}
	made.ctx, made.cancel = context.WithCancel(ctx)
	s.lock.Lock()
	defer s.lock.Unlock()
	s.streams[made] = struct{}{}
	context.AfterFunc(made.ctx, func() {
		s.lock.Lock()
		defer s.lock.Unlock()
		delete(s.streams, made)
	})
	return made, nil
}

// stream answers each message by a verdict, in order.
type stream struct {
	server *Server
	ctx    context.Context
	cancel context.CancelFunc
	more   chan struct{}

	lock     sync.Mutex
	verdicts []*jetonv1.Verdict
	ended    error
}

func (s *stream) end(err error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.ended == nil {
		s.ended = err
	}
	s.cancel()
}

// Header is empty.
func (s *stream) Header() (metadata.MD, error) { return metadata.MD{}, nil }

// Trailer is empty.
func (s *stream) Trailer() metadata.MD { return metadata.MD{} }

// Context ends with the stream.
func (s *stream) Context() context.Context { return s.ctx }

// CloseSend ends the stream once its answers are read.
func (s *stream) CloseSend() error {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.ended == nil {
		s.ended = io.EOF
	}
	s.wake()
	return nil
}

// SendMsg judges at once.
func (s *stream) SendMsg(message any) error {
	s.server.lock.Lock()
	verdict := s.server.judge(message.(*jetonv1.StreamValidateRequest).GetRequest())
	s.server.lock.Unlock()
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.ended != nil {
		return io.EOF
	}
	s.verdicts = append(s.verdicts, verdict)
	s.wake()
	return nil
}

func (s *stream) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// RecvMsg waits for the next answer.
func (s *stream) RecvMsg(message any) error {
	for {
		s.lock.Lock()
		if len(s.verdicts) > 0 {
			message.(*jetonv1.StreamValidateResponse).Verdict = s.verdicts[0]
			s.verdicts = s.verdicts[1:]
			s.lock.Unlock()
			return nil
		}
		ended := s.ended
		s.lock.Unlock()
		if ended != nil {
			s.cancel()
			return ended
		}
		select {
		case <-s.more:
		case <-s.ctx.Done():
			s.end(status.FromContextError(s.ctx.Err()).Err())
		}
	}
}
