// Command peer obtains tokens by golang.org/x/oauth2, as it is, from the token endpoint of a jeton. scripts/test-go runs
// it beside a server; it ends with 1 on any surprise.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "not as expected:", err)
		os.Exit(1)
	}
}

func run() error {
	text, err := os.ReadFile(os.Getenv("DEV_JSON"))
	if err != nil {
		return err
	}
	var dev struct {
		Issuer  string            `json:"issuer"`
		Clients map[string]string `json:"clients"`
	}
	if err := json.Unmarshal(text, &dev); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, style := range []oauth2.AuthStyle{
		oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams, oauth2.AuthStyleAutoDetect,
	} {
		config := clientcredentials.Config{
			ClientID:       "dev-service",
			ClientSecret:   dev.Clients["dev-service"],
			TokenURL:       dev.Issuer + "/oauth2/token",
			EndpointParams: url.Values{"audience": {"orders"}},
			AuthStyle:      style,
		}
		token, err := config.Token(ctx)
		if err != nil {
			return err
		}
		left := time.Until(token.Expiry)
		if token.Type() != "Bearer" || left < 10*time.Minute || left > 15*time.Minute {
			return fmt.Errorf("a token of type %s that lives for %s", token.Type(), left)
		}
		active, err := introspect(ctx, dev.Issuer, dev.Clients["dev-service"], token.AccessToken)
		if err != nil {
			return err
		}
		if !active {
			return errors.New("a token that is not active")
		}
		config.ClientSecret = "nonsense"
		_, err = config.Token(ctx)
		var refused *oauth2.RetrieveError
		if !errors.As(err, &refused) || refused.ErrorCode != "invalid_client" {
			return fmt.Errorf("a bad secret gave %w", err)
		}
	}
	fmt.Println("golang.org/x/oauth2 obtains tokens in each of its styles")
	return nil
}

func introspect(ctx context.Context, issuer, key, token string) (bool, error) {
	form := strings.NewReader(url.Values{"token": {token}}.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/oauth2/introspect", form)
	if err != nil {
		return false, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth("dev-service", key)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	var said struct {
		Active bool `json:"active"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		return false, err
	}
	return said.Active, nil
}
