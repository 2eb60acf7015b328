package jeton

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
)

// endpoint is where a server is. It was checked.
type endpoint struct {
	host string
	port string
	tls  bool
}

var hostForm = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// parseEndpoint reads `https://host[:port]` or `http://host[:port]`. The error does not repeat the text, which may hold a
// password.
func parseEndpoint(text string) (endpoint, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found || (scheme != "http" && scheme != "https") {
		return endpoint{}, notAnEndpoint("it begins neither with https:// nor with http://")
	}
	rest = strings.TrimSuffix(rest, "/")
	if strings.Contains(rest, "@") {
		return endpoint{}, notAnEndpoint("it holds a user or a password, which are not sent")
	}
	if strings.ContainsAny(rest, "/?#") {
		return endpoint{}, notAnEndpoint("it has a path, a query or a fragment")
	}
	host, port, hasPort := rest, "", false
	if inside, isIPv6 := strings.CutPrefix(rest, "["); isIPv6 {
		address, after, closed := strings.Cut(inside, "]")
		parsed, err := netip.ParseAddr(address)
		if !closed || err != nil || !parsed.Is6() || (after != "" && after[0] != ':') {
			return endpoint{}, notAnEndpoint("its IPv6 address has another form than [address]:port")
		}
		host = address
		port, hasPort = strings.CutPrefix(after, ":")
	} else {
		host, port, hasPort = strings.Cut(rest, ":")
		if !hostForm.MatchString(host) {
			return endpoint{}, notAnEndpoint("its host is empty, or has a character that no host has")
		}
	}
	if !hasPort {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || port[0] == '+' {
		return endpoint{}, notAnEndpoint("its port is no number from 1 to 65535")
	}
	return endpoint{host: host, port: strconv.FormatUint(number, 10), tls: scheme == "https"}, nil
}

func notAnEndpoint(why string) error {
	message := "The endpoint is no address of a server: " + why + ". Write https://host:port."
	return &EndpointInvalid{failure: failure{code: codes.InvalidArgument, message: message}}
}

func parseEndpoints(texts []string) ([]endpoint, error) {
	if len(texts) == 0 {
		return nil, notAnEndpoint("none is given")
	}
	found := make([]endpoint, 0, len(texts))
	for _, text := range texts {
		one, err := parseEndpoint(text)
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

// target is for gRPC.
func (e endpoint) target() string { return net.JoinHostPort(e.host, e.port) }

func (e endpoint) String() string {
	if e.tls {
		return "https://" + e.target()
	}
	return "http://" + e.target()
}

// isLoopback tells whether nothing that is sent there leaves this machine.
func (e endpoint) isLoopback() bool { return isLoopback(e.host) }

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}
