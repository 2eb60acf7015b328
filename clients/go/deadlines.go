package jeton

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// deadlines ends contexts which all last equally long: by one timer that they share. A timer of its own for each call, as
// context.WithTimeout has it, wakes a thread of the scheduler, which costs a twentieth of a whole call.
type deadlines struct {
	after time.Duration

	lock   sync.Mutex
	timer  *time.Timer // nil: not running
	first  *deadline   // in the order of their ends
	last   *deadline
	closed bool
}

// deadline is a context that ends with its parent, or at its time.
type deadline struct {
	context.Context
	cancel context.CancelCauseFunc
	end    time.Time
	passed atomic.Bool

	of           *deadlines
	before, next *deadline
	waits        bool // it is in the list
}

// Deadline is that of the context.
func (d *deadline) Deadline() (time.Time, bool) { return d.end, true }

// Err is context.DeadlineExceeded when its time has passed.
func (d *deadline) Err() error {
	if d.passed.Load() {
		return context.DeadlineExceeded
	}
	return d.Context.Err()
}

// begin returns a context that ends after the time of all of them. Whoever gets it calls stop.
func (d *deadlines) begin(parent context.Context) (ctx context.Context, stop func()) {
	end := time.Now().Add(d.after)
	if earlier, ok := parent.Deadline(); ok && earlier.Before(end) {
		return context.WithCancel(parent)
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	if d.closed {
		return context.WithDeadline(parent, end)
	}
	made := &deadline{end: end, of: d}
	made.Context, made.cancel = context.WithCancelCause(parent)
	made.waits, made.before = true, d.last
	if d.last == nil {
		d.first = made
	} else {
		d.last.next = made
	}
	d.last = made
	if d.timer == nil {
		d.timer = time.AfterFunc(d.after, d.fire)
	}
	return made, made.stop
}

func (d *deadline) stop() {
	d.of.lock.Lock()
	d.of.remove(d)
	d.of.lock.Unlock()
	d.cancel(context.Canceled)
}

func (d *deadlines) remove(one *deadline) {
	if !one.waits {
		return
	}
	one.waits = false
	if one.before == nil {
		d.first = one.next
	} else {
		one.before.next = one.next
	}
	if one.next == nil {
		d.last = one.before
	} else {
		one.next.before = one.before
	}
	one.before, one.next = nil, nil
	d.rest()
}

// fire ends those whose time has passed. It goes on as long as there are others.
func (d *deadlines) fire() {
	var over []*deadline
	d.lock.Lock()
	now := time.Now()
	for d.first != nil && !now.Before(d.first.end) {
		over = append(over, d.first)
		d.remove(d.first)
	}
	switch {
	case d.first == nil:
		d.timer = nil
	default:
		d.timer = time.AfterFunc(d.first.end.Sub(now), d.fire)
	}
	d.lock.Unlock()
	for _, one := range over {
		one.passed.Store(true)
		one.cancel(context.DeadlineExceeded)
	}
}

// close leaves no timer behind the contexts that have begun. Those that begin later have timers of their own.
func (d *deadlines) close() {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.closed = true
	d.rest()
}

// rest ends the timer of what is closed when nothing waits for it any more.
func (d *deadlines) rest() {
	if d.closed && d.first == nil && d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
