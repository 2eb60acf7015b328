// Package clock is the time of token sources and guards: that of the machine, or one that a test sets.
package clock

import (
	"sync"
	"time"
)

// Clock is monotonic. Its zero is arbitrary.
type Clock interface {
	// Now is the time since the clock's zero.
	Now() time.Duration
	// AfterFunc calls at that time, in a goroutine of its own. Stop tells whether it kept it from that.
	AfterFunc(at time.Duration, call func()) (stop func() bool)
}

// Timer sends at that time. The caller stops it.
func Timer(clock Clock, at time.Duration) (fired <-chan struct{}, stop func() bool) {
	sent := make(chan struct{}, 1)
	return sent, clock.AfterFunc(at, func() { sent <- struct{}{} })
}

// Manual stands still until Advance.
type Manual struct {
	lock  sync.Mutex
	now   time.Duration
	next  int
	calls map[int]planned
}

type planned struct {
	at   time.Duration
	call func()
}

// NewManual returns a clock that stands at zero.
func NewManual() *Manual { return &Manual{calls: map[int]planned{}} }

// Now is what Advance has added up to.
func (m *Manual) Now() time.Duration {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.now
}

// AfterFunc calls within Advance, or at once if that time has come.
func (m *Manual) AfterFunc(at time.Duration, call func()) func() bool {
	m.lock.Lock()
	defer m.lock.Unlock()
	if at <= m.now {
		go call()
		return func() bool { return false }
	}
	number := m.next
	m.next++
	m.calls[number] = planned{at, call}
	return func() bool {
		m.lock.Lock()
		defer m.lock.Unlock()
		_, waits := m.calls[number]
		delete(m.calls, number)
		return waits
	}
}

// Advance lets time pass.
func (m *Manual) Advance(by time.Duration) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.now += max(by, 0)
	for number, one := range m.calls {
		if one.at <= m.now {
			delete(m.calls, number)
			go one.call()
		}
	}
}
