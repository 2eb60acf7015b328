package main

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"go.jeton.dev/jeton"
)

// describe is an error as the driver reads it.
func describe(err error) map[string]any {
	var typed jeton.Error
	if !errors.As(err, &typed) {
		return map[string]any{"kind": fmt.Sprintf("%T", err), "message": err.Error()}
	}
	metadata := typed.Metadata()
	if metadata == nil {
		metadata = map[string]string{}
	}
	told := map[string]any{
		"kind": kind(typed), "code": code(typed.Code()), "reason": typed.Reason(), "message": typed.Message(),
		"metadata": metadata, "fields": fields(typed), "retry_after_ms": nil,
	}
	if delay, ok := typed.RetryAfter(); ok {
		told["retry_after_ms"] = delay.Milliseconds()
	}
	return told
}

// code is the name of a code as the definitions of gRPC write it.
func code(number codes.Code) string {
	if number == codes.OK {
		return "OK"
	}
	if number == codes.Canceled {
		return "CANCELLED"
	}
	return strings.ToUpper(snake(number.String()))
}

// kind is the name of an error's type as the contract writes it: Ttl, not TTL.
func kind(err jeton.Error) string {
	name := reflect.TypeOf(err).Elem().Name()
	spelled := ""
	for _, word := range strings.Split(snake(name), "_") {
		spelled += strings.ToUpper(word[:1]) + word[1:]
	}
	return spelled
}

func fields(err jeton.Error) map[string]any {
	found := map[string]any{}
	value := reflect.ValueOf(err).Elem()
	if _, ok := err.(*jeton.Unreachable); ok {
		return found
	}
	for _, field := range reflect.VisibleFields(value.Type()) {
		if !field.IsExported() || field.Anonymous || value.FieldByIndex(field.Index).IsZero() {
			continue
		}
		switch one := value.FieldByIndex(field.Index).Interface().(type) {
		case time.Duration:
			found[snake(field.Name)] = one.Seconds()
		case time.Time:
			found[snake(field.Name)] = one.UTC().Format(time.RFC3339)
		default:
			found[snake(field.Name)] = one
		}
	}
	return found
}

// snake spells RequestedTTL as requested_ttl, and TTLTooShort as ttl_too_short.
func snake(name string) string {
	spelled := regexp.MustCompile(`([a-z0-9])([A-Z])`).ReplaceAllString(name, "${1}_${2}")
	spelled = regexp.MustCompile(`([A-Z])([A-Z][a-z])`).ReplaceAllString(spelled, "${1}_${2}")
	return strings.ToLower(spelled)
}

// outcome is how a call to a peer ended.
func outcome(err error) map[string]any {
	ended := status.Convert(err)
	told := map[string]any{"code": code(ended.Code()), "reason": "", "domain": "", "message": ended.Message()}
	for _, detail := range ended.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			told["reason"], told["domain"] = info.GetReason(), info.GetDomain()
		}
	}
	return told
}
