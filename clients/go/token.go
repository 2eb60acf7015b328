package jeton

import (
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	jetonv1 "go.jeton.dev/jeton/gen/jeton/v1"
)

// IssueRequest asks for a token.
type IssueRequest struct {
	Subject   string
	Audiences []string
	Scopes    []string
	// Claims of your own, as encoding/json would take them.
	Claims map[string]any
	// TTL; zero: the default of the policy.
	TTL time.Duration
	// Refreshable opens a session.
	Refreshable bool
	// CertificateThumbprint binds the token to a client certificate (RFC 8705).
	CertificateThumbprint string
}

func (r *IssueRequest) message() (*jetonv1.IssueRequest, error) {
	made := &jetonv1.IssueRequest{
		Subject: r.Subject, Audiences: r.Audiences, Scopes: r.Scopes,
		Refreshable: r.Refreshable, CertificateThumbprint: r.CertificateThumbprint,
	}
	if r.TTL != 0 {
		made.Expiration = &jetonv1.IssueRequest_Ttl{Ttl: durationpb.New(r.TTL)}
	}
	if len(r.Claims) > 0 {
		claims, err := structpb.NewStruct(r.Claims)
		if err != nil {
			message := "A claim has a type that is none of JSON. Give texts, numbers, booleans, lists of any and maps to any."
			base := failure{code: codes.InvalidArgument, message: message, reason: "FIELD_INVALID", cause: err}
			return nil, &FieldInvalid{failure: base, Field: "claims"}
		}
		made.Claims = claims
	}
	return made, nil
}

// RefreshRequest spends a refresh token.
type RefreshRequest struct {
	RefreshToken Secret
	// Scopes are some of the session's; none: all of them.
	Scopes []string
	// TTL; zero: the default of the policy.
	TTL time.Duration
}

func (r *RefreshRequest) message() *jetonv1.RefreshRequest {
	made := &jetonv1.RefreshRequest{RefreshToken: r.RefreshToken.Reveal(), Scopes: r.Scopes}
	if r.TTL != 0 {
		made.Ttl = durationpb.New(r.TTL)
	}
	return made
}

// ValidateRequest asks for a verdict.
type ValidateRequest struct {
	Token Secret
	// Audiences that the caller accepts; none: those of its registration.
	Audiences []string
	// Scopes that the token must have.
	Scopes []string
	// MinRevision comes from a RevokeResponse: the verdict reflects at least that.
	MinRevision string
	// CertificateThumbprint of the certificate that the token's bearer presented.
	CertificateThumbprint string
}

func (r *ValidateRequest) message() *jetonv1.ValidateRequest {
	return &jetonv1.ValidateRequest{
		Token: r.Token.Reveal(), Audiences: r.Audiences, Scopes: r.Scopes,
		MinRevision: r.MinRevision, CertificateThumbprint: r.CertificateThumbprint,
	}
}

// IssuedToken is what Issue and Refresh answer.
type IssuedToken struct {
	AccessToken Secret
	// RefreshToken is zero if the token is not refreshable.
	RefreshToken Secret
	JTI          string
	SessionID    string
	// IssueTime, ExpireTime and RefreshTime are by the clock of the server. Only their differences mean something here.
	IssueTime   time.Time
	ExpireTime  time.Time
	RefreshTime time.Time
}

func issued(token *jetonv1.IssuedToken) *IssuedToken {
	made := &IssuedToken{
		AccessToken:  NewSecret(token.GetAccessToken()),
		RefreshToken: NewSecret(token.GetRefresh().GetRefreshToken()),
		JTI:          token.GetJti(),
		SessionID:    token.GetSessionId(),
		IssueTime:    token.GetIssueTime().AsTime(),
		ExpireTime:   token.GetExpireTime().AsTime(),
	}
	if token.GetRefreshTime() != nil {
		made.RefreshTime = token.GetRefreshTime().AsTime()
	}
	return made
}

// Verdict is what jeton says of a token. Only an active one makes what it says trustworthy.
type Verdict struct {
	Status           jetonv1.TokenStatus
	Subject          string
	Audiences        []string
	Scopes           []string
	JTI              string
	SessionID        string
	ClientID         string
	IssueTime        time.Time
	ExpireTime       time.Time
	ServerTime       time.Time
	Revision         string
	RevocationReason jetonv1.RevocationReason
	// Surroundings says, of a malformed token, what surrounds a token in the text.
	Surroundings string

	claims *structpb.Struct
}

// IsActive tells whether the token is good.
func (v *Verdict) IsActive() bool { return v.Status == jetonv1.TokenStatus_TOKEN_STATUS_ACTIVE }

// Claims are the custom claims, whether this package knows them or not.
func (v *Verdict) Claims() map[string]any { return v.claims.AsMap() }

// Require returns nil if the token has these scopes, and a Refused otherwise: a handler returns it, or writes it by
// WriteHTTP.
func (v *Verdict) Require(scopes ...string) error {
	for _, scope := range scopes {
		if !slices.Contains(v.Scopes, scope) {
			return missingScope(scopes)
		}
	}
	return nil
}

func verdict(message *jetonv1.Verdict) *Verdict {
	return &Verdict{
		Status:           message.GetStatus(),
		Subject:          message.GetSubject(),
		Audiences:        message.GetAudiences(),
		Scopes:           message.GetScopes(),
		JTI:              message.GetJti(),
		SessionID:        message.GetSessionId(),
		ClientID:         message.GetClientId(),
		IssueTime:        message.GetIssueTime().AsTime(),
		ExpireTime:       message.GetExpireTime().AsTime(),
		ServerTime:       message.GetServerTime().AsTime(),
		Revision:         message.GetRevision(),
		RevocationReason: message.GetRevocationReason(),
		Surroundings:     message.GetSurroundings(),
		claims:           message.GetClaims(),
	}
}
