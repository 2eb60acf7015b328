package jeton

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	noToken       = "NO_TOKEN"
	noVerdict     = "NO_VERDICT"
	malformed     = "MALFORMED"
	scopeMissing  = "MISSING_SCOPE"
	retryVerdicts = time.Second
)

// Refused is the answer of a guard to a call that does not pass.
type Refused struct {
	// Reason is that of ErrorInfo, of the domain guard.jeton.v1: NO_TOKEN, NO_VERDICT, or the status of the token.
	Reason string
	// Message is for the caller. It says nothing of the token.
	Message string
	// Scopes that are needed, with MISSING_SCOPE.
	Scopes []string
}

func newRefused(reason, message string) *Refused { return &Refused{Reason: reason, Message: message} }

func withoutVerdict() *Refused {
	return newRefused(noVerdict, "The token could not be judged. Try again.")
}

func missingScope(scopes []string) *Refused {
	return &Refused{Reason: scopeMissing, Message: "The token lacks a scope that this call needs.", Scopes: scopes}
}

func (r *Refused) Error() string { return r.Message }

func (r *Refused) code() codes.Code {
	switch r.Reason {
	case noVerdict:
		return codes.Unavailable
	case scopeMissing:
		return codes.PermissionDenied
	}
	return codes.Unauthenticated
}

// GRPCStatus makes it the status of a call that a handler or an interceptor returns it from.
func (r *Refused) GRPCStatus() *status.Status {
	told := status.New(r.code(), r.Message)
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Domain: guardDomain, Reason: r.Reason}}
	if r.Reason == noVerdict {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryVerdicts)})
	}
	if detailed, err := told.WithDetails(details...); err == nil {
		return detailed
	}
	return told
}

// WriteHTTP writes it as the answer to a request.
func (r *Refused) WriteHTTP(w http.ResponseWriter) {
	number, kind, challenge := http.StatusUnauthorized, "invalid_token", ""
	switch r.Reason {
	case noVerdict:
		number, kind, challenge = http.StatusServiceUnavailable, "temporarily_unavailable", "Bearer"
		w.Header().Set("Retry-After", strconv.Itoa(int(retryVerdicts.Seconds())))
	case scopeMissing:
		number, kind = http.StatusForbidden, "insufficient_scope"
		challenge = `Bearer error="insufficient_scope", scope="` + strings.Join(r.Scopes, " ") + `"`
	case noToken:
		kind, challenge = "invalid_request", "Bearer"
	default:
		challenge = `Bearer error="invalid_token", error_description="` + r.Message + `"`
	}
	w.Header().Set("Www-Authenticate", challenge)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(number)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": kind, "reason": r.Reason})
}
