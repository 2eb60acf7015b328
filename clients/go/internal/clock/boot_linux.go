package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is the time since the machine started, with its time in suspend.
func sinceBoot() (time.Duration, bool) {
	var at unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &at) != nil {
		return 0, false
	}
	return time.Duration(at.Nano()), true
}
