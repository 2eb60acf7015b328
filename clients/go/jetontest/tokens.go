package jetontest

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jetonv1 "go.jeton.dev/jeton/gen/jeton/v1"
)

const (
	defaultTTL = time.Hour
	longestTTL = 24 * time.Hour
)

// token is one that the double minted. Its text is no JWT: no verifier takes it.
type token struct {
	text, jti, subject string
	audiences, scopes  []string
	claims             map[string]any
	thumbprint         string
	session            *session
	issued, expires    time.Time
	revoked            bool
}

type session struct {
	id, subject       string
	audiences, scopes []string
	ttl               time.Duration
	current, previous string
	latest            *jetonv1.IssuedToken
	spent             []string
	revoked           bool
}

func (s *Server) number() string {
	s.numbers++
	return fmt.Sprintf("%012d", s.numbers)
}

func (s *Server) mint(subject string, audiences, scopes []string, ttl time.Duration) *token {
	number := s.number()
	now := s.Now()
	made := &token{
		text: "double-token-" + number, jti: "00000000-0000-7000-8000-" + number, subject: subject,
		audiences: audiences, scopes: scopes, issued: now, expires: now.Add(ttl),
	}
	s.tokens[made.text] = made
	return made
}

func (t *token) message() *jetonv1.IssuedToken {
	return &jetonv1.IssuedToken{
		AccessToken: t.text, Jti: t.jti,
		IssueTime:   timestamppb.New(t.issued),
		ExpireTime:  timestamppb.New(t.expires),
		RefreshTime: timestamppb.New(t.issued.Add(t.expires.Sub(t.issued) * 4 / 5)),
	}
}

func (s *Server) issue(request *jetonv1.IssueRequest) (*jetonv1.IssueResponse, error) {
	ttl := defaultTTL
	if request.GetTtl() != nil {
		ttl = request.GetTtl().AsDuration()
	}
	if request.GetExpireTime() != nil {
		ttl = request.GetExpireTime().AsTime().Sub(s.Now())
	}
	switch {
	case request.GetSubject() == "":
		return nil, failed(codes.InvalidArgument, "FIELD_REQUIRED", map[string]string{"field": "subject"}).Err()
	case len(request.GetAudiences()) == 0:
		return nil, failed(codes.InvalidArgument, "FIELD_REQUIRED", map[string]string{"field": "audiences"}).Err()
	case ttl > longestTTL:
		return nil, failed(codes.InvalidArgument, "TTL_EXCEEDS_MAXIMUM", map[string]string{
			"audience":            request.GetAudiences()[0],
			"requestedTtlSeconds": strconv.Itoa(int(ttl.Seconds())), "maxTtlSeconds": strconv.Itoa(int(longestTTL.Seconds())),
		}).Err()
	}
	made := s.mint(request.GetSubject(), request.GetAudiences(), request.GetScopes(), ttl)
	made.claims, made.thumbprint = request.GetClaims().AsMap(), request.GetCertificateThumbprint()
	answer := made.message()
	if request.GetRefreshable() {
		opened := &session{
			id: made.jti, subject: made.subject, audiences: made.audiences, scopes: made.scopes,
			ttl: ttl, current: "double-refresh-" + s.number(),
		}
		s.sessions[opened.id] = opened
		made.session = opened
		answer.SessionId = opened.id
		answer.Refresh = &jetonv1.RefreshCredential{RefreshToken: opened.current}
	}
	return &jetonv1.IssueResponse{Token: answer}, nil
}

func (s *Server) refresh(request *jetonv1.RefreshRequest) (*jetonv1.RefreshResponse, error) {
	for _, one := range s.sessions {
		presented := request.GetRefreshToken()
		known := map[string]string{"sessionId": one.id}
		switch {
		case presented == "", presented != one.current && presented != one.previous && !slices.Contains(one.spent, presented):
			continue
		case one.revoked:
			known["revocationReason"] = "REVOCATION_REASON_ADMINISTRATIVE"
			return nil, failed(codes.Unauthenticated, "SESSION_REVOKED", known).Err()
		case presented == one.previous:
			// Within its grace the server answers with the same successor.
			return &jetonv1.RefreshResponse{Token: one.latest}, nil
		case presented == "", presented != one.current:
			one.revoked = true
			return nil, failed(codes.Unauthenticated, "REFRESH_TOKEN_REUSED", known).Err()
		}
		ttl, scopes := one.ttl, one.scopes
		if request.GetTtl() != nil {
			ttl = request.GetTtl().AsDuration()
		}
		if len(request.GetScopes()) > 0 {
			scopes = request.GetScopes()
		}
		made := s.mint(one.subject, one.audiences, scopes, ttl)
		made.session = one
		one.spent = append(one.spent, one.previous)
		one.previous, one.current = one.current, "double-refresh-"+s.number()
		one.latest = made.message()
		one.latest.SessionId = one.id
		one.latest.Refresh = &jetonv1.RefreshCredential{RefreshToken: one.current}
		return &jetonv1.RefreshResponse{Token: one.latest}, nil
	}
	return nil, failed(codes.Unauthenticated, "REFRESH_TOKEN_INVALID", nil).Err()
}

func (s *Server) judge(request *jetonv1.ValidateRequest) *jetonv1.Verdict {
	answer := &jetonv1.Verdict{ServerTime: timestamppb.New(s.Now()), Status: jetonv1.TokenStatus_TOKEN_STATUS_MALFORMED}
	found := s.tokens[request.GetToken()]
	if found == nil {
		return answer
	}
	answer.Subject, answer.Audiences, answer.Scopes = found.subject, found.audiences, found.scopes
	answer.Jti, answer.ClientId = found.jti, "double"
	answer.IssueTime, answer.ExpireTime = timestamppb.New(found.issued), timestamppb.New(found.expires)
	// Claims that are none of JSON are left out.
	answer.Claims, _ = structpb.NewStruct(found.claims)
	if found.session != nil {
		answer.SessionId = found.session.id
	}
	has := func(needed []string, all []string, enough func([]string, func(string) bool) bool) bool {
		return len(needed) == 0 || enough(needed, func(one string) bool { return slices.Contains(all, one) })
	}
	every := func(needed []string, is func(string) bool) bool {
		return !slices.ContainsFunc(needed, func(one string) bool { return !is(one) })
	}
	switch {
	case !s.Now().Before(found.expires):
		answer.Status = jetonv1.TokenStatus_TOKEN_STATUS_EXPIRED
	case found.revoked || (found.session != nil && found.session.revoked):
		answer.Status = jetonv1.TokenStatus_TOKEN_STATUS_REVOKED
	case !has(request.GetAudiences(), found.audiences, slices.ContainsFunc[[]string]):
		answer.Status = jetonv1.TokenStatus_TOKEN_STATUS_WRONG_AUDIENCE
	case !has(request.GetScopes(), found.scopes, every):
		answer.Status = jetonv1.TokenStatus_TOKEN_STATUS_MISSING_SCOPE
	case found.thumbprint != "" && found.thumbprint != request.GetCertificateThumbprint():
		answer.Status = jetonv1.TokenStatus_TOKEN_STATUS_WRONG_BINDING
	default:
		answer.Status = jetonv1.TokenStatus_TOKEN_STATUS_ACTIVE
	}
	return answer
}

func (s *Server) revoke(request *jetonv1.RevokeRequest) *jetonv1.RevokeResponse {
	answer := &jetonv1.RevokeResponse{
		Outcome: jetonv1.RevocationOutcome_REVOCATION_OUTCOME_REVOKED, RevokeTime: timestamppb.New(s.Now()),
		Propagation: &jetonv1.Propagation{Complete: true},
	}
	target := request.GetTarget()
	for _, one := range s.tokens {
		if one.text == target.GetToken() || one.jti == target.GetJti() || one.subject == target.GetSubject() {
			one.revoked = true
		}
	}
	for _, one := range s.sessions {
		isRefresh := target.GetToken() != "" && (one.current == target.GetToken() || one.previous == target.GetToken())
		if isRefresh || one.id == target.GetSessionId() || one.subject == target.GetSubject() {
			one.revoked = true
		}
	}
	return answer
}
