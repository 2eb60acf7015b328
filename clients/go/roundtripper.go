package jeton

import (
	"io"
	"net/http"
	"regexp"
	"strings"
)

// RoundTripper attaches the source to an http.Client. A request whose token a peer refuses by 401 is repeated once with
// another token, if its body can be had again (http.NewRequest sees to that for the usual bodies). A redirect to another
// host gets no token. base may be nil: http.DefaultTransport.
func (s *TokenSource) RoundTripper(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &roundTripper{source: s, base: base}
}

type roundTripper struct {
	source *TokenSource
	base   http.RoundTripper
}

// RoundTrip makes the request, and closes its body in any case, as http.RoundTripper says.
func (r *roundTripper) RoundTrip(request *http.Request) (*http.Response, error) {
	if isForeign(request) {
		return r.base.RoundTrip(request)
	}
	fail := func(err error) (*http.Response, error) {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, err
	}
	if request.URL.Scheme != "https" && !r.source.options.AllowPlaintext && !isLoopback(request.URL.Hostname()) {
		return fail(plaintext())
	}
	token, err := r.source.Get(request.Context())
	if err != nil {
		return fail(err)
	}
	answer, err := r.base.RoundTrip(withToken(request, token))
	if err != nil || answer.StatusCode != http.StatusUnauthorized || !challengeMayBeMet(answer.Header) {
		return answer, err
	}
	canRepeat := request.Body == nil || request.Body == http.NoBody || request.GetBody != nil
	if !canRepeat {
		r.source.noteRefusal(newRefused("REVOKED", ""), token)
		return answer, nil
	}
	other := r.source.another(request.Context(), token)
	if other == nil {
		return answer, nil
	}
	again := withToken(request, other)
	if request.GetBody != nil {
		if again.Body, err = request.GetBody(); err != nil {
			return answer, nil
		}
	}
	// The connection can be used again once the answer has been read.
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10)
	_ = answer.Body.Close()
	return r.base.RoundTrip(again)
}

func withToken(request *http.Request, token *Token) *http.Request {
	made := request.Clone(request.Context())
	made.Header.Set("Authorization", token.authorization.Reveal())
	return made
}

// isForeign tells whether redirects led to another host than the one that was asked.
func isForeign(request *http.Request) bool {
	first := request
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return first.URL.Host != request.URL.Host || (first.URL.Scheme == "https" && request.URL.Scheme != "https")
}

var errorParameter = regexp.MustCompile(`(?i)\berror\s*=\s*"?([a-z_]+)`)

// challengeMayBeMet tells whether a 401 says that the token is bad, or nothing of the cause.
func challengeMayBeMet(header http.Header) bool {
	said := errorParameter.FindStringSubmatch(strings.Join(header.Values("Www-Authenticate"), ", "))
	return said == nil || said[1] == "invalid_token"
}
