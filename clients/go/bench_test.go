package jeton_test

import (
	"testing"

	"go.jeton.dev/jeton"
)

func BenchmarkGet(b *testing.B) {
	client, err := jeton.NewClient(jeton.Config{Endpoints: []string{"https://h"}})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	source := jeton.LiveSource(client)
	for b.Loop() {
		if _, err := source.Get(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
