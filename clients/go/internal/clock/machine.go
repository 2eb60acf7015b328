package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often the clock that goes on in suspend is asked: that is a system call, and the monotonic clock is
	// none.
	lookEvery = time.Second
	// sleptAtLeast is how far the two clocks are apart before it counts as suspend.
	sleptAtLeast = 100 * time.Millisecond
	// longestTimer : a timer stands still while the machine sleeps, so none is set for longer. After a resume what is due
	// begins within that time.
	longestTimer = 30 * time.Second
)

// Machine is the monotonic clock of the machine, with the time that it spent in suspend where the system tells.
type Machine struct {
	monotonic func() time.Duration
	boot      func() (time.Duration, bool) // it goes on in suspend

	apart    time.Duration // the boot clock before the monotonic clock, at the beginning
	slept    atomic.Int64
	nextLook atomic.Int64
}

// NewMachine returns one that begins now.
func NewMachine() *Machine {
	zero := time.Now()
	return newMachine(func() time.Duration { return time.Since(zero) }, sinceBoot)
}

func newMachine(monotonic func() time.Duration, boot func() (time.Duration, bool)) *Machine {
	made := &Machine{monotonic: monotonic, boot: boot}
	now := monotonic()
	booted, ok := boot()
	made.apart = booted - now
	made.nextLook.Store(int64(now + lookEvery))
	if !ok {
		made.nextLook.Store(int64(1<<63 - 1))
	}
	return made
}

// Now is the time since the clock was made.
func (m *Machine) Now() time.Duration {
	now := m.monotonic()
	if int64(now) >= m.nextLook.Load() {
		m.look(now)
	}
	return now + time.Duration(m.slept.Load())
}

func (m *Machine) look(now time.Duration) {
	m.nextLook.Store(int64(now + lookEvery))
	booted, ok := m.boot()
	if !ok {
		return
	}
	before := m.slept.Load()
	// The clock goes forward alone, whichever of two callers comes last.
	if slept := int64(booted - now - m.apart); slept > before+int64(sleptAtLeast) {
		m.slept.CompareAndSwap(before, slept)
	}
}

// AfterFunc calls at that time, in a goroutine of its own; after a resume up to 30 s later.
func (m *Machine) AfterFunc(at time.Duration, call func()) func() bool {
	left := at - m.Now()
	if left <= longestTimer {
		return time.AfterFunc(left, call).Stop
	}
	made := &longTimer{clock: m, at: at, call: call}
	made.lock.Lock()
	defer made.lock.Unlock()
	made.timer = time.AfterFunc(longestTimer, made.fire)
	return made.stop
}

// longTimer is a row of short ones.
type longTimer struct {
	clock *Machine
	at    time.Duration
	call  func()

	lock  sync.Mutex
	timer *time.Timer
	over  bool
}

func (l *longTimer) fire() {
	l.lock.Lock()
	if l.over {
		l.lock.Unlock()
		return
	}
	if left := l.at - l.clock.Now(); left > 0 {
		l.timer = time.AfterFunc(min(left, longestTimer), l.fire)
		l.lock.Unlock()
		return
	}
	l.over = true
	l.lock.Unlock()
	l.call()
}

func (l *longTimer) stop() bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	stopped := !l.over
	l.over = true
	l.timer.Stop()
	return stopped
}
