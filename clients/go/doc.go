// Package jeton is the client of jeton, a token authority over gRPC.
//
//   - [Client] makes the calls of TokenService and AdminService.
//   - [TokenSource] holds one token, and keeps it fresh.
//   - [Guard] stands before the handlers of a server, and judges the token of each call.
//
// Every failure is an [Error], with a type of its own for each reason:
//
//	var long *jeton.TTLExceedsMaximum
//	if errors.As(err, &long) {
//		log.Printf("ask for at most %s", long.MaxTTL)
//	}
//
// Tokens and keys are of type [Secret], which does not print. No decision depends on the wall clock. Close ends every
// goroutine and connection of what it closes. Package jetontest has a double that needs no server.
package jeton

// Version of this module.
const Version = "0.1.0"
