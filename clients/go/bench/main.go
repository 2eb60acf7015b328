// Command bench measures the guard beside an empty call of gRPC to the same server, and the look-up of a token.
// clients/go/bench/run runs it beside a server of its own.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"go.jeton.dev/jeton"
)

const (
	rounds  = 31
	callers = 256 // under load
	// What is to be reached.
	oneByOneBar = 0.9
	streamBar   = 5.0
	lookUpBar   = 100.0 // ns
)

var roundTime = 150 * time.Millisecond

func main() {
	if text := os.Getenv("BENCH_ROUND_MS"); text != "" {
		if ms, err := strconv.Atoi(text); err == nil {
			roundTime = time.Duration(ms) * time.Millisecond
		}
	}
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	text, err := os.ReadFile(os.Getenv("DEV_JSON"))
	if err != nil {
		return err
	}
	var dev struct {
		Public  string            `json:"public"`
		Clients map[string]string `json:"clients"`
	}
	if err := json.Unmarshal(text, &dev); err != nil {
		return err
	}
	client, err := jeton.NewClient(jeton.Config{
		Endpoints: []string{"http://" + dev.Public}, APIKey: jeton.NewSecret(dev.Clients["dev-service"]),
	})
	if err != nil {
		return err
	}
	defer client.Close()
	source, err := jeton.NewTokenSource(client, jeton.TokenOptions{Subject: "svc:bench", Audiences: []string{"orders"}})
	if err != nil {
		return err
	}
	defer source.Close()
	token, err := source.Get(ctx)
	if err != nil {
		return err
	}
	channel, err := grpc.NewClient("passthrough:///"+dev.Public, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer channel.Close()

	health := grpc_health_v1.NewHealthClient(channel)
	empty := func() error {
		_, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return err
	}
	incoming := metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+token.Reveal()))
	guarded := func(mode jeton.GuardMode) (func() error, *jeton.Guard) {
		guard := jeton.NewGuard(client, jeton.GuardOptions{Audiences: []string{"orders"}, Mode: mode})
		intercept := guard.UnaryServerInterceptor()
		info := &grpc.UnaryServerInfo{FullMethod: "/bench.v1.Bench/Nothing"}
		return func() error {
			_, err := intercept(incoming, nil, info, func(context.Context, any) (any, error) { return nil, nil })
			return err
		}, guard
	}
	unary, unaryGuard := guarded(jeton.GuardUnary)
	defer unaryGuard.Close()
	stream, streamGuard := guarded(jeton.GuardStream)
	defer streamGuard.Close()

	var found [3][]float64 // the empty call, the guard one by one, the guard by its stream
	for round := range rounds + 1 {
		order := []int{0, 1, 2}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, which := range order {
			call, count := empty, 1
			switch which {
			case 1:
				call = unary
			case 2:
				call, count = stream, callers
			}
			rate, err := callsPerSecond(call, count)
			if err != nil {
				return err
			}
			if round > 0 { // the first one warms up
				found[which] = append(found[which], rate)
			}
		}
	}
	fmt.Printf("empty call of grpc-go, one by one      %9.0f /s\n", median(found[0]))
	show("Guard, one by one", found[1], found[0], oneByOneBar)
	show(fmt.Sprintf("Guard, stream mode, %d at a time", callers), found[2], found[0], streamBar)
	lookUp, err := nanoseconds(func() error { _, err := source.Get(ctx); return err })
	if err != nil {
		return err
	}
	fmt.Printf("TokenSource, look-up                   %9.1f ns    bar ≤ %.0f ns\n", lookUp, lookUpBar)
	return nil
}

// show prints the medians of the rate, and of the ratio within each round.
func show(name string, rates, empty []float64, bar float64) {
	ratios := make([]float64, len(rates))
	for i, rate := range rates {
		ratios[i] = rate / empty[i]
	}
	fmt.Printf("%-38s %9.0f /s    %.2f × the empty call; bar ≥ %g\n", name, median(rates), median(ratios), bar)
}

func callsPerSecond(call func() error, callers int) (float64, error) {
	var calls atomic.Int64
	var failed atomic.Pointer[error]
	var work sync.WaitGroup
	begun := time.Now()
	end := begun.Add(roundTime)
	for range callers {
		work.Go(func() {
			made := int64(0)
			for time.Now().Before(end) {
				if err := call(); err != nil {
					failed.Store(&err)
					return
				}
				made++
			}
			calls.Add(made)
		})
	}
	work.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(calls.Load()) / time.Since(begun).Seconds(), nil
}

func nanoseconds(call func() error) (float64, error) {
	const calls = 1_000_000
	var found []float64
	for range rounds {
		begun := time.Now()
		for range calls {
			if err := call(); err != nil {
				return 0, err
			}
		}
		found = append(found, float64(time.Since(begun).Nanoseconds())/calls)
	}
	return median(found), nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
