//go:build !linux

package clock

import "time"

// sinceBoot is not told here.
func sinceBoot() (time.Duration, bool) { return 0, false }
