package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"go.jeton.dev/jeton"
	conformancev1 "go.jeton.dev/jeton/internal/conformance/gen/jeton/conformance/v1"
)

// command is one line.
type command struct {
	ID     int     `json:"id"`
	Do     string  `json:"do"`
	Client string  `json:"client"`
	Source string  `json:"source"`
	Guard  string  `json:"guard"`
	Within float64 `json:"deadline_s"`
	line   []byte
}

func (c *command) into(arguments any) error { return json.Unmarshal(c.line, arguments) }

func (c *command) context() (context.Context, context.CancelFunc) {
	if c.Within == 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), seconds(c.Within))
}

func seconds(number float64) time.Duration { return time.Duration(number * float64(time.Second)) }

type source struct {
	*jeton.TokenSource
	lock   sync.Mutex
	events []map[string]any
}

type runner struct {
	log *slog.Logger

	lock    sync.Mutex
	clients map[string]*jeton.Client
	sources map[string]*source
	stops   []func()
}

func newRunner(log *slog.Logger) *runner {
	return &runner{log: log, clients: map[string]*jeton.Client{}, sources: map[string]*source{}}
}

func (r *runner) do(given *command) (map[string]any, error) {
	r.lock.Lock()
	client, source := r.clients[given.Client], r.sources[given.Source]
	r.lock.Unlock()
	switch given.Do {
	case "hello":
		return map[string]any{"language": "Go", "version": jeton.Version}, nil
	case "client.new":
		return nil, r.newClient(given)
	case "client.call":
		return call(client, given)
	case "source.new":
		return nil, r.newSource(client, given)
	case "source.get":
		ctx, cancel := given.context()
		defer cancel()
		token, err := source.Get(ctx)
		if err != nil {
			return nil, err
		}
		return map[string]any{"token": token.Reveal(), "jti": token.JTI}, nil
	case "source.call":
		return callPeer(source, given)
	case "source.events":
		source.lock.Lock()
		defer source.lock.Unlock()
		return map[string]any{"events": append([]map[string]any{}, source.events...)}, nil
	case "source.close":
		return nil, source.Close()
	case "guard.new":
		return r.newGuard(client, given)
	case "show":
		return show(client, source)
	case "left":
		return map[string]any{"left": left()}, nil
	case "close":
		r.close()
		return nil, nil
	}
	return nil, errUnsupported
}

func (r *runner) newClient(given *command) error {
	var arguments struct {
		Endpoints      []string `json:"endpoints"`
		AdminEndpoints []string `json:"admin_endpoints"`
		APIKey         string   `json:"api_key"`
		APIKeyFile     string   `json:"api_key_file"`
		CAFile         string   `json:"ca_file"`
		CertFile       string   `json:"cert_file"`
		KeyFile        string   `json:"key_file"`
		AllowPlaintext bool     `json:"allow_plaintext"`
	}
	if err := given.into(&arguments); err != nil {
		return err
	}
	made, err := jeton.NewClient(jeton.Config{
		Endpoints: arguments.Endpoints, AdminEndpoints: arguments.AdminEndpoints,
		APIKey: jeton.NewSecret(arguments.APIKey), APIKeyFile: arguments.APIKeyFile,
		CAFile: arguments.CAFile, CertFile: arguments.CertFile, KeyFile: arguments.KeyFile,
		AllowPlaintext: arguments.AllowPlaintext, Logger: r.log,
	})
	if err != nil {
		return err
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.clients[given.Client] = made
	return nil
}

// call calls a method of a stub by its name.
func call(client *jeton.Client, given *command) (map[string]any, error) {
	var arguments struct {
		Method  string          `json:"method"`
		Request json.RawMessage `json:"request"`
	}
	if err := given.into(&arguments); err != nil {
		return nil, err
	}
	ctx, cancel := given.context()
	defer cancel()
	for _, stub := range []any{client.TokenService(), client.AdminService(), client.DiscoveryService()} {
		method := reflect.ValueOf(stub).MethodByName(arguments.Method)
		if !method.IsValid() || method.Type().NumIn() != 3 {
			continue
		}
		request := reflect.New(method.Type().In(1).Elem())
		if err := protojson.Unmarshal(arguments.Request, request.Interface().(proto.Message)); err != nil {
			return nil, err
		}
		found := method.Call([]reflect.Value{reflect.ValueOf(ctx), request})
		if err, ok := found[1].Interface().(error); ok {
			return nil, err
		}
		text, err := protojson.Marshal(found[0].Interface().(proto.Message))
		return map[string]any{"response": json.RawMessage(text)}, err
	}
	return nil, errUnsupported
}

func (r *runner) newSource(client *jeton.Client, given *command) error {
	var arguments struct {
		Subject          string   `json:"subject"`
		Audiences        []string `json:"audiences"`
		Scopes           []string `json:"scopes"`
		TTL              float64  `json:"ttl_s"`
		Refreshable      bool     `json:"refreshable"`
		RefreshToken     string   `json:"refresh_token"`
		RefreshTokenFile string   `json:"refresh_token_file"`
	}
	if err := given.into(&arguments); err != nil {
		return err
	}
	made := &source{}
	var err error
	made.TokenSource, err = jeton.NewTokenSource(client, jeton.TokenOptions{
		Subject: arguments.Subject, Audiences: arguments.Audiences, Scopes: arguments.Scopes,
		TTL: seconds(arguments.TTL), Refreshable: arguments.Refreshable,
		RefreshToken: jeton.NewSecret(arguments.RefreshToken), RefreshTokenFile: arguments.RefreshTokenFile,
		OnEvent: func(event jeton.Event) {
			told := map[string]any{"kind": event.Kind, "jti": event.JTI, "session_id": event.SessionID, "error": ""}
			if event.Err != nil {
				told["error"] = kind(event.Err)
			}
			made.lock.Lock()
			defer made.lock.Unlock()
			made.events = append(made.events, told)
		},
	})
	if err != nil {
		return err
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.sources[given.Source] = made
	return nil
}

// callPeer calls EchoService with the source attached as a user would.
func callPeer(source *source, given *command) (map[string]any, error) {
	var arguments struct {
		Target   string `json:"target"`
		Method   string `json:"method"`
		Messages int    `json:"messages"`
	}
	if err := given.into(&arguments); err != nil {
		return nil, err
	}
	options := append(source.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	channel, err := grpc.NewClient(strings.TrimPrefix(arguments.Target, "http://"), options...)
	if err != nil {
		return nil, err
	}
	defer channel.Close()
	stub := conformancev1.NewEchoServiceClient(channel)
	ctx, cancel := given.context()
	defer cancel()
	if arguments.Method == "Echo" {
		answer, err := stub.Echo(ctx, &conformancev1.EchoRequest{Text: "hello"})
		told := outcome(err)
		told["subject"], told["jti"] = answer.GetSubject(), answer.GetJti()
		return told, nil
	}
	stream, err := stub.Watch(ctx, &conformancev1.WatchRequest{})
	messages := 0
	for err == nil && messages < arguments.Messages {
		if _, err = stream.Recv(); err == nil {
			messages++
		}
	}
	told := outcome(err)
	told["messages"] = messages
	return told, nil
}

func show(client *jeton.Client, source *source) (map[string]any, error) {
	token, err := source.Get(context.Background())
	if err != nil {
		return nil, err
	}
	var texts []string
	var log strings.Builder
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	for _, one := range []any{client, source.TokenSource, token, *token, jeton.NewSecret(token.Reveal())} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			texts = append(texts, fmt.Sprintf(verb, one), fmt.Sprintf(verb, struct{ hidden any }{one}))
		}
		text, err := json.Marshal(one)
		texts = append(texts, string(text), fmt.Sprint(err))
		logger.Info("shown", "object", one)
	}
	return map[string]any{"texts": append(texts, log.String())}, nil
}

// left names the goroutines that the library or gRPC began.
func left() []string {
	text := make([]byte, 16<<20)
	text = text[:runtime.Stack(text, true)]
	found := []string{}
	for _, one := range strings.Split(string(text), "\n\n") {
		_, by, _ := strings.Cut(one, "created by ")
		by, _, _ = strings.Cut(by, " in goroutine")
		if by != "" && !strings.HasPrefix(by, "main.") && !strings.HasPrefix(by, "os/signal.") {
			found = append(found, by)
		}
	}
	return found
}

func (r *runner) close() {
	r.lock.Lock()
	sources, stops, clients := r.sources, r.stops, r.clients
	r.stops = nil
	r.lock.Unlock()
	for _, one := range sources {
		_ = one.Close()
	}
	for _, stop := range stops {
		stop()
	}
	for _, one := range clients {
		_ = one.Close()
	}
}
