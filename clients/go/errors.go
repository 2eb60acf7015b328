package jeton

import (
	"context"
	"errors"
	"maps"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

//go:generate go run ./internal/reasongen -from ../../proto/jeton/v1/error_reason.proto -to reasons.go

const (
	jetonDomain = "jeton.v1"
	guardDomain = "guard.jeton.v1"
)

// Error is what all errors of this package are. Each kind has a type of its own; use [errors.As] with that, or with this.
// Their code is seen by [status.Code], too.
type Error interface {
	error
	// Code of gRPC.
	Code() codes.Code
	// Message of the server, or of this package.
	Message() string
	// Reason is that of ErrorInfo; empty: there was none.
	Reason() string
	// Metadata of ErrorInfo. Do not change it.
	Metadata() map[string]string
	// RetryAfter is the delay of RetryInfo, if there was one.
	RetryAfter() (delay time.Duration, ok bool)
	// GRPCStatus makes [status.FromError] work.
	GRPCStatus() *status.Status
}

// failure is what all errors hold.
type failure struct {
	code     codes.Code
	message  string
	reason   string
	metadata map[string]string
	retry    *time.Duration
	cause    error
}

func (f *failure) Error() string               { return f.message }
func (f *failure) Code() codes.Code            { return f.code }
func (f *failure) Message() string             { return f.message }
func (f *failure) Reason() string              { return f.reason }
func (f *failure) Metadata() map[string]string { return f.metadata }
func (f *failure) Unwrap() error               { return f.cause }

func (f *failure) RetryAfter() (time.Duration, bool) {
	if f.retry == nil {
		return 0, false
	}
	return *f.retry, true
}

func (f *failure) GRPCStatus() *status.Status {
	told := status.New(f.code, f.message)
	var details []protoadapt.MessageV1
	if f.reason != "" {
		details = append(details, &errdetails.ErrorInfo{Reason: f.reason, Domain: jetonDomain, Metadata: f.metadata})
	}
	if f.retry != nil {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(*f.retry)})
	}
	if detailed, err := told.WithDetails(details...); err == nil {
		return detailed
	}
	return told
}

// Typed metadata. What is absent, or has another form, is zero.

func (f *failure) text(key string) string { return f.metadata[key] }

func (f *failure) count(key string) int64 {
	number, _ := strconv.ParseInt(f.metadata[key], 10, 64)
	return number
}

func (f *failure) duration(key string, unit time.Duration) time.Duration {
	number, err := strconv.ParseFloat(f.metadata[key], 64)
	// This is false for NaN, too.
	if limit := float64(1<<63-1) / float64(unit); err != nil || !(number > -limit && number < limit) {
		return 0
	}
	return time.Duration(number * float64(unit))
}

func (f *failure) instant(key string) time.Time {
	found, _ := time.Parse(time.RFC3339, f.metadata[key])
	return found
}

// EndpointInvalid says that a text is no endpoint, or that a credential would go over plaintext.
type EndpointInvalid struct{ failure }

// CredentialInvalid says that no API key is in the text or file, or that a file cannot be read or used.
type CredentialInvalid struct {
	failure
	// File is its path; empty: it was no file.
	File string
}

// Unreachable says that nothing answered: nothing listens there, TLS does not match, or the connection broke.
type Unreachable struct {
	failure
	// Endpoint that was asked.
	Endpoint string
}

// DeadlineExceeded says that the deadline passed before the answer. What was asked may have been done.
// It is also a [context.DeadlineExceeded].
type DeadlineExceeded struct{ failure }

// NotJeton says that what answers is no jeton, or one that is too old for the call.
type NotJeton struct {
	failure
	// Endpoint that was asked.
	Endpoint string
}

// Closed says that the object is closed.
type Closed struct{ failure }

// UnknownReason is a refusal whose reason this package does not know: the server is newer.
type UnknownReason struct{ failure }

// UnexpectedError is anything else; see its code.
type UnexpectedError struct{ failure }

func newDeadlineExceeded(cause error) *DeadlineExceeded {
	message := "The deadline passed before the answer. What was asked may have been done."
	if cause == nil {
		cause = context.DeadlineExceeded
	}
	return &DeadlineExceeded{failure{code: codes.DeadlineExceeded, message: message, cause: cause}}
}

// newNotConnected is for a deadline that passed while a connection was being made. One that cannot be made is Unreachable.
func newNotConnected(at endpoint) *DeadlineExceeded {
	message := "No connection to " + at.String() +
		" could be made before the deadline. Check the endpoint, and that jeton runs there."
	return &DeadlineExceeded{failure{code: codes.DeadlineExceeded, message: message, cause: context.DeadlineExceeded}}
}

func newClosed(what string) *Closed {
	return &Closed{failure{code: codes.Canceled, message: "The " + what + " is closed.", cause: net.ErrClosed}}
}

func newCredentialInvalid(file, message string, cause error) *CredentialInvalid {
	return &CredentialInvalid{failure{code: codes.FailedPrecondition, message: message, cause: cause}, file}
}

func newUnreachable(at endpoint, told string) *Unreachable {
	why := "the connection broke, or none can be made"
	switch {
	case strings.Contains(told, "connection refused"):
		why = "nothing listens there"
	case strings.Contains(told, "no such host"), strings.Contains(told, "zero addresses"):
		why = "its name is not known"
	case strings.Contains(told, "tls: "), strings.Contains(told, "x509: "), strings.Contains(told, "handshake"):
		why = "TLS does not match"
	}
	message := "No answer from " + at.String() + ": " + why + ". Check the endpoint, and that jeton runs there."
	if told != "" {
		message += " (" + told + ")"
	}
	return &Unreachable{failure{code: codes.Unavailable, message: message}, at.String()}
}

// fromStatus gives an error of gRPC its type.
func fromStatus(err error, at endpoint) Error {
	var own Error
	if errors.As(err, &own) {
		return own
	}
	told := status.Convert(err)
	base := failure{code: told.Code(), message: told.Message(), cause: err}
	var info *errdetails.ErrorInfo
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			info = detail
		case *errdetails.RetryInfo:
			delay := detail.GetRetryDelay().AsDuration()
			base.retry = &delay
		}
	}
	if info != nil && info.GetDomain() == jetonDomain {
		base.reason = info.GetReason()
		base.metadata = maps.Clone(info.GetMetadata())
		if base.reason == "DEADLINE_EXCEEDED" {
			base.cause = context.DeadlineExceeded
			return &DeadlineExceeded{base}
		}
		if typed, ok := reasons[base.reason]; ok {
			return typed(base)
		}
		return &UnknownReason{base}
	}
	switch {
	case isAnotherServer(told):
		base.message = at.String() + " answers, but is no jeton, or one that is too old for this call. Check the endpoint. (" +
			told.Message() + ")"
		return &NotJeton{base, at.String()}
	case told.Code() == codes.Unavailable:
		unreachable := newUnreachable(at, told.Message())
		unreachable.retry, unreachable.cause = base.retry, err
		return unreachable
	case told.Code() == codes.DeadlineExceeded:
		deadline := newDeadlineExceeded(context.DeadlineExceeded)
		deadline.retry = base.retry
		return deadline
	case told.Code() == codes.Canceled:
		base.message, base.cause = "The call was cancelled.", context.Canceled
	}
	return &UnexpectedError{base}
}

// isAnotherServer tells whether what answered speaks no gRPC, or does not know the method.
func isAnotherServer(told *status.Status) bool {
	switch told.Code() {
	case codes.Unimplemented:
		return true
	case codes.Unavailable:
		return strings.Contains(told.Message(), "looked like an HTTP/1.1 header")
	case codes.Unknown, codes.Internal, codes.Unauthenticated, codes.PermissionDenied:
		return strings.Contains(told.Message(), "unexpected HTTP status code") ||
			strings.Contains(told.Message(), "unexpected content-type")
	}
	return false
}

// isLasting tells whether no repetition mends an error.
func isLasting(err Error) bool {
	switch err.Code() {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.NotFound, codes.FailedPrecondition,
		codes.Unimplemented:
		return true
	}
	switch err.(type) {
	case *EndpointInvalid, *CredentialInvalid:
		return true
	}
	return false
}
