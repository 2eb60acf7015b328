package jeton

import (
	"log/slog"
	"sync"
)

// EventKind is what a token source tells.
type EventKind string

const (
	// EventRefreshed : a renewal succeeded, the first included.
	EventRefreshed EventKind = "refreshed"
	// EventWillExpire : the token has not been renewed, and 10 % of its lifetime are left. Once per token.
	EventWillExpire EventKind = "will_expire"
	// EventSessionEnded : the session is over. Once.
	EventSessionEnded EventKind = "session_ended"
)

// Event is what a token source tells. It holds no secret.
type Event struct {
	Kind      EventKind
	JTI       string
	SessionID string
	// Err is that of the latest attempt, or the one that ended the session.
	Err Error
}

// teller tells events in order. Whoever tells one does not wait for the receiver.
type teller struct {
	receive func(Event)
	log     *slog.Logger

	lock    sync.Mutex
	queue   []Event
	telling bool
	closed  bool
}

func (t *teller) tell(events []Event) {
	if t.receive == nil || len(events) == 0 {
		return
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.closed {
		return
	}
	t.queue = append(t.queue, events...)
	if !t.telling {
		t.telling = true
		go t.run()
	}
}

// run ends when there is nothing more to tell.
func (t *teller) run() {
	for {
		t.lock.Lock()
		if t.closed || len(t.queue) == 0 {
			t.telling = false
			t.lock.Unlock()
			return
		}
		next := t.queue[0]
		t.queue = t.queue[1:]
		t.lock.Unlock()
		t.one(next)
	}
}

func (t *teller) one(event Event) {
	defer func() {
		if failed := recover(); failed != nil {
			t.log.Error("OnEvent panicked; renewals go on", "panic", failed)
		}
	}()
	t.receive(event)
}

func (t *teller) close() {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.closed = true
}
