// Package double lets package jetontest make clients that need no server. The types of package jeton do not show it.
package double

import (
	"google.golang.org/grpc"

	"go.jeton.dev/jeton/internal/clock"
)

// NewClient is set by package jeton. What it returns is a *jeton.Client.
var NewClient func(server grpc.ClientConnInterface, clock clock.Clock) any
