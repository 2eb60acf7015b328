// Command conformance is the runner of Go: clients/conformance/README.md says what it does.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

var errUnsupported = errors.New("unsupported")

func main() {
	out := make(chan any)
	var answering sync.WaitGroup
	answering.Add(1)
	go write(out, &answering)

	runner := newRunner(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		line := append([]byte(nil), lines.Bytes()...)
		var given command
		if err := json.Unmarshal(line, &given); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		given.line = line
		// What makes objects takes effect in the order of the lines.
		switch given.Do {
		case "client.new", "source.new", "guard.new":
			out <- answer(runner, &given)
		default:
			answering.Add(1)
			go func() {
				defer answering.Done()
				out <- answer(runner, &given)
			}()
		}
	}
}

func write(out <-chan any, answering *sync.WaitGroup) {
	defer answering.Done()
	encoder := json.NewEncoder(os.Stdout)
	for one := range out {
		if encoder.Encode(one) != nil {
			return
		}
	}
}

func answer(runner *runner, given *command) map[string]any {
	told, err := runner.do(given)
	switch {
	case errors.Is(err, errUnsupported):
		return map[string]any{"id": given.ID, "unsupported": true}
	case err != nil:
		return map[string]any{"id": given.ID, "error": describe(err)}
	case told == nil:
		told = map[string]any{}
	}
	return map[string]any{"id": given.ID, "ok": told}
}
