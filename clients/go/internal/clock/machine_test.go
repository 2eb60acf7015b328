package clock

import (
	"sync/atomic"
	"testing"
	"time"
)

func TestSuspendCounts(t *testing.T) {
	var now, asleep time.Duration
	machine := newMachine(
		func() time.Duration { return now },
		func() (time.Duration, bool) { return time.Hour + now + asleep, true },
	)
	if machine.Now() != 0 {
		t.Fatalf("it begins at %v", machine.Now())
	}
	now, asleep = 2*time.Second, 50*time.Millisecond
	if machine.Now() != now {
		t.Fatalf("the coarseness of clocks counts as suspend: %v", machine.Now())
	}
	now, asleep = 4*time.Second, 8*time.Hour
	if machine.Now() != now+asleep {
		t.Fatalf("it is %v", machine.Now())
	}
	now = 4*time.Second + time.Millisecond
	if machine.Now() != now+asleep {
		t.Fatalf("it is %v", machine.Now())
	}
}

func TestWithoutABootClock(t *testing.T) {
	now := time.Duration(0)
	machine := newMachine(func() time.Duration { return now }, func() (time.Duration, bool) { return 0, false })
	now = time.Hour
	if machine.Now() != time.Hour {
		t.Fatalf("it is %v", machine.Now())
	}
}

func TestTheMachineTellsItsTime(t *testing.T) {
	machine := NewMachine()
	first := machine.Now()
	fired, stop := Timer(machine, first+time.Millisecond)
	defer stop()
	<-fired
	if machine.Now() < first+time.Millisecond {
		t.Fatal("the timer fires early")
	}
}

func TestALongTimerSeesThatTheMachineSlept(t *testing.T) {
	var asleep, called atomic.Int64
	begun := time.Now()
	monotonic := func() time.Duration { return time.Since(begun) }
	machine := newMachine(monotonic, func() (time.Duration, bool) {
		return time.Since(begun) + time.Duration(asleep.Load()), true
	})
	long := &longTimer{clock: machine, at: time.Hour, call: func() { called.Add(1) }}
	long.timer = time.AfterFunc(time.Hour, long.fire)
	long.fire()
	if called.Load() != 0 {
		t.Fatal("it is called before its time")
	}
	asleep.Store(int64(2 * time.Hour))
	machine.nextLook.Store(0)
	long.fire()
	long.fire()
	if called.Load() != 1 || long.stop() {
		t.Fatalf("it is called %d times", called.Load())
	}

	stop := machine.AfterFunc(machine.Now()+time.Hour, func() { t.Error("it is called after stop") })
	if !stop() || stop() {
		t.Fatal("stop tells something else than it did")
	}
}
