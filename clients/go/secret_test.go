package jeton_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.jeton.dev/jeton"
)

// printsNone fails if any way to print an object gives one of the secrets.
func printsNone(t *testing.T, secrets []string, objects ...any) {
	t.Helper()
	for _, object := range objects {
		var printed []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
			within := struct {
				hidden any
				Shown  any
			}{object, object}
			printed = append(printed, fmt.Sprintf(verb, object), fmt.Sprintf(verb, []any{object}))
			// Of an object in a private field, other verbs read what its goroutines write.
			if strings.HasSuffix(verb, "v") {
				printed = append(printed, fmt.Sprintf(verb, within))
			}
		}
		text, _ := json.Marshal(object)
		printed = append(printed, string(text))
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("", "object", object)
		slog.New(slog.NewTextHandler(&log, nil)).Info("", "object", object)
		printed = append(printed, log.String())
		for _, secret := range secrets {
			for _, one := range printed {
				if strings.Contains(one, secret) || strings.Contains(strings.ToLower(one), fmt.Sprintf("%x", secret)) {
					t.Fatalf("%T prints a secret: %s", object, strings.ReplaceAll(one, secret, "<here>"))
				}
			}
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	text := "jtk_abc_0123456789abcdefghijkl"
	secret := jeton.NewSecret(text)
	config := jeton.Config{Endpoints: []string{"https://h"}, APIKey: secret}
	client, err := jeton.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	hidden := struct{ secret jeton.Secret }{secret}
	printsNone(t, []string{text}, secret, &secret, config, &config, client, hidden, &hidden, []jeton.Secret{secret})
	if secret.Reveal() != text || fmt.Sprint(secret) != "[secret]" {
		t.Fatal("it has another text")
	}
	if !jeton.NewSecret("").IsZero() || (jeton.Secret{}).Reveal() != "" {
		t.Fatal("an empty secret is none")
	}
}
