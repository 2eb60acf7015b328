package jeton

import "time"

// LiveSource returns a source with a token in hand, by the clock of the machine.
func LiveSource(client *Client) *TokenSource {
	source, _ := NewTokenSource(client, TokenOptions{Subject: "svc:bench"})
	source.held.Store(&held{token: &Token{}, deadAt: client.clock.Now() + time.Hour})
	return source
}
