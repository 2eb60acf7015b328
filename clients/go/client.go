package jeton

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	jetonv1 "go.jeton.dev/jeton/gen/jeton/v1"
	"go.jeton.dev/jeton/internal/clock"
	"go.jeton.dev/jeton/internal/double"
)

// Config says where jeton is, and who the client is. Give an API key, or a client certificate with its key.
type Config struct {
	// Endpoints of the public listener, tried in order: https://host[:port].
	Endpoints []string
	// AdminEndpoints of the admin listener, which serves AdminService. None: Endpoints.
	AdminEndpoints []string
	// APIKey, by NewSecret.
	APIKey Secret
	// APIKeyFile holds it. It is read again when it changes, and so are the files below.
	APIKeyFile string
	// CAFile holds the authorities of the servers, in PEM. Empty: those of the machine.
	CAFile string
	// CertFile and KeyFile hold the client certificate and its key, in PEM.
	CertFile string
	KeyFile  string
	// AllowPlaintext lets an API key go to an http:// endpoint that is not loopback, as within a mesh.
	AllowPlaintext bool
	// Logger of what happens in the background. Nil: slog.Default().
	Logger *slog.Logger
}

// Client makes the calls of jeton. It is safe for use by several goroutines. Its errors are those of this package.
type Client struct {
	public      *group
	admin       *group
	connections *connections
	clock       clock.Clock
	log         *slog.Logger
}

var (
	_ grpc.ClientConnInterface = route{}
	_ fmt.Formatter            = (*Client)(nil)
)

func init() {
	double.NewClient = func(server grpc.ClientConnInterface, clock clock.Clock) any {
		at := endpoint{host: "double.invalid", port: "443", tls: true}
		log := slog.Default()
		made := &Client{public: &group{endpoints: []endpoint{at}}, clock: clock, log: log}
		made.admin = made.public
		// Without files and keys nothing can be wrong.
		with, _ := newCredentials(&Config{}, log)
		made.connections = &connections{credentials: with, double: server, lanes: map[endpoint]*lane{}}
		return made
	}
}

// NewClient returns a client. It makes no call.
func NewClient(config Config) (*Client, error) {
	log := config.Logger
	if log == nil {
		log = slog.Default()
	}
	public, err := parseEndpoints(config.Endpoints)
	if err != nil {
		return nil, err
	}
	admin := public
	if len(config.AdminEndpoints) > 0 {
		if admin, err = parseEndpoints(config.AdminEndpoints); err != nil {
			return nil, err
		}
	}
	if !config.APIKey.IsZero() && config.APIKeyFile != "" {
		return nil, newCredentialInvalid("", "There are two API keys. Give APIKey or APIKeyFile.", nil)
	}
	hasKey := !config.APIKey.IsZero() || config.APIKeyFile != ""
	for _, one := range append(append([]endpoint{}, public...), admin...) {
		if hasKey && !one.tls && !one.isLoopback() && !config.AllowPlaintext {
			message := "The API key would go to " + one.String() + " in plaintext. Use https://, or AllowPlaintext within a mesh."
			return nil, &EndpointInvalid{failure{code: codes.InvalidArgument, message: message}}
		}
	}
	with, err := newCredentials(&config, log)
	if err != nil {
		return nil, err
	}
	made := &Client{public: &group{endpoints: public}, clock: clock.NewMachine(), log: log}
	made.admin = made.public
	if len(config.AdminEndpoints) > 0 {
		made.admin = &group{endpoints: admin}
	}
	made.connections = &connections{credentials: with, lanes: map[endpoint]*lane{}}
	return made, nil
}

// Close closes all connections. Calls that are under way fail by Closed.
func (c *Client) Close() error {
	c.connections.close()
	return nil
}

// TokenService returns the generated stub, over this client. Its messages print the secrets that they hold: use Issue,
// Refresh, Validate and Revoke where they do.
func (c *Client) TokenService() jetonv1.TokenServiceClient {
	return jetonv1.NewTokenServiceClient(route{client: c, group: c.public})
}

// AdminService returns the generated stub, over this client, at the admin endpoints.
func (c *Client) AdminService() jetonv1.AdminServiceClient {
	return jetonv1.NewAdminServiceClient(route{client: c, group: c.admin})
}

// DiscoveryService returns the generated stub, over this client.
func (c *Client) DiscoveryService() jetonv1.DiscoveryServiceClient {
	return jetonv1.NewDiscoveryServiceClient(route{client: c, group: c.public})
}

// Issue mints a token. To keep one fresh, use a TokenSource.
func (c *Client) Issue(ctx context.Context, request IssueRequest) (*IssuedToken, error) {
	message, err := request.message()
	if err != nil {
		return nil, err
	}
	answer, err := c.TokenService().Issue(ctx, message)
	if err != nil {
		return nil, err
	}
	return issued(answer.GetToken()), nil
}

// Refresh spends a refresh token. The answer has a new token, and the successor of the refresh token.
func (c *Client) Refresh(ctx context.Context, request RefreshRequest) (*IssuedToken, error) {
	answer, err := c.TokenService().Refresh(ctx, request.message())
	if err != nil {
		return nil, err
	}
	return issued(answer.GetToken()), nil
}

// Validate judges a token. A bad token is a verdict; an error means that nothing was decided.
func (c *Client) Validate(ctx context.Context, request ValidateRequest) (*Verdict, error) {
	answer, err := c.TokenService().Validate(ctx, request.message())
	if err != nil {
		return nil, err
	}
	return verdict(answer.GetVerdict()), nil
}

// BatchValidate judges up to 1000 tokens. Verdicts come in the order of the requests.
func (c *Client) BatchValidate(ctx context.Context, requests []ValidateRequest) ([]*Verdict, error) {
	message := &jetonv1.BatchValidateRequest{}
	for _, request := range requests {
		message.Requests = append(message.Requests, request.message())
	}
	answer, err := c.TokenService().BatchValidate(ctx, message)
	if err != nil {
		return nil, err
	}
	var found []*Verdict
	for _, one := range answer.GetVerdicts() {
		found = append(found, verdict(one))
	}
	return found, nil
}

// RevokeToken revokes one access token, or the session of a refresh token. When it returns with a complete propagation,
// the token is dead on every replica. The note may be empty.
func (c *Client) RevokeToken(
	ctx context.Context, token Secret, reason jetonv1.RevocationReason, note string,
) (*jetonv1.RevokeResponse, error) {
	target := &jetonv1.RevocationTarget{Kind: &jetonv1.RevocationTarget_Token{Token: token.Reveal()}}
	return c.TokenService().Revoke(ctx, &jetonv1.RevokeRequest{Target: target, Reason: reason, Note: note})
}

// Revoke revokes any target; a wide one at the admin endpoints.
func (c *Client) Revoke(ctx context.Context, request *jetonv1.RevokeRequest) (*jetonv1.RevokeResponse, error) {
	to := c.public
	switch request.GetTarget().GetKind().(type) {
	case *jetonv1.RevocationTarget_Token, *jetonv1.RevocationTarget_Jti, *jetonv1.RevocationTarget_SessionId:
	default:
		to = c.admin
	}
	return jetonv1.NewTokenServiceClient(route{client: c, group: to}).Revoke(ctx, request)
}

// Format prints the endpoints, for every verb.
func (c *Client) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, c.String()) }

func (c *Client) String() string { return fmt.Sprintf("jeton.Client(%v)", c.public.endpoints) }
