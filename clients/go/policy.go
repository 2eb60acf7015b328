package jeton

import (
	_ "embed" // for service_config.json
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

//go:embed service_config.json
var serviceConfig []byte

// policy is how a method is called.
type policy struct {
	timeout    time.Duration
	rounds     int
	repeats    bool
	first      time.Duration
	longest    time.Duration
	multiplier float64
}

// pause before round n + 2: full jitter.
func (p policy) pause(n int) time.Duration {
	limit := math.Min(float64(p.first)*math.Pow(p.multiplier, float64(n)), float64(p.longest))
	return jitter(time.Duration(limit))
}

// jitter is a random time between 0 and limit.
func jitter(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return rand.N(limit)
}

// policies holds one for each full name of a method, and for each service.
var policies = sync.OnceValue(func() map[string]policy {
	var config struct {
		MethodConfig []struct {
			Name []struct {
				Service string `json:"service"`
				Method  string `json:"method"`
			} `json:"name"`
			Timeout     string `json:"timeout"`
			RetryPolicy *struct {
				MaxAttempts       int     `json:"maxAttempts"`
				InitialBackoff    string  `json:"initialBackoff"`
				MaxBackoff        string  `json:"maxBackoff"`
				BackoffMultiplier float64 `json:"backoffMultiplier"`
			} `json:"retryPolicy"`
		} `json:"methodConfig"`
	}
	// The file is a part of the module, and a test reads it: it cannot be wrong.
	if err := json.Unmarshal(serviceConfig, &config); err != nil {
		panic(err)
	}
	length := func(text string) time.Duration {
		found, err := time.ParseDuration(text)
		if err != nil {
			panic(err)
		}
		return found
	}
	found := map[string]policy{}
	for _, method := range config.MethodConfig {
		one := policy{timeout: length(method.Timeout), rounds: 1}
		if retry := method.RetryPolicy; retry != nil {
			one.rounds, one.repeats, one.multiplier = retry.MaxAttempts, true, retry.BackoffMultiplier
			one.first, one.longest = length(retry.InitialBackoff), length(retry.MaxBackoff)
		}
		for _, name := range method.Name {
			found["/"+name.Service+"/"+name.Method] = one
		}
	}
	return found
})

func policyOf(path string) policy {
	all := policies()
	if found, ok := all[path]; ok {
		return found
	}
	if found, ok := all[path[:strings.LastIndexByte(path, '/')+1]]; ok {
		return found
	}
	return policy{timeout: 10 * time.Second, rounds: 1}
}
