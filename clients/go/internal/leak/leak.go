// Package leak looks for goroutines that a test has left.
package leak

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// Check fails the test if goroutines of this module or of gRPC live after it. Call it first: what the test cleans up later
// is cleaned up before.
func Check(test *testing.T) {
	before := len(found())
	test.Cleanup(func() {
		end := time.Now().Add(20 * time.Second)
		for len(found()) > before {
			if time.Now().After(end) {
				test.Errorf("goroutines are left:\n\n%s", strings.Join(found(), "\n\n"))
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

func found() []string {
	text := make([]byte, 8<<20)
	text = text[:runtime.Stack(text, true)]
	var ours []string
	for one := range strings.SplitSeq(string(text), "\n\n") {
		_, by, _ := strings.Cut(one, "created by ")
		if strings.HasPrefix(by, "go.jeton.dev/") || strings.HasPrefix(by, "google.golang.org/grpc") {
			ours = append(ours, one)
		}
	}
	return ours
}
