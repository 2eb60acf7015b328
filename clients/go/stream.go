package jeton

import (
	"errors"
	"io"

	"google.golang.org/grpc"
)

// typedStream gives the errors of a stream their types.
type typedStream struct {
	grpc.ClientStream
	client *Client
	at     endpoint
	lane   *lane
}

func (s *typedStream) typed(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return s.client.failed(s.Context(), err, s.at, s.lane)
}

// SendMsg returns io.EOF if the stream has ended; RecvMsg says why.
func (s *typedStream) SendMsg(message any) error { return s.typed(s.ClientStream.SendMsg(message)) }

// RecvMsg returns io.EOF at the end of the stream.
func (s *typedStream) RecvMsg(message any) error { return s.typed(s.ClientStream.RecvMsg(message)) }
