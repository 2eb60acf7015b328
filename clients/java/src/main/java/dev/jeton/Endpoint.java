package dev.jeton;

import dev.jeton.errors.EndpointInvalidException;
import dev.jeton.errors.ErrorDetails;
import io.grpc.Status;
import java.util.Collection;
import java.util.List;
import java.util.regex.Pattern;

/** Where a server is: {@code https://host[:port]} or {@code http://host[:port]}, and nothing more. */
record Endpoint(String host, int port, boolean tls) {
    private static final Pattern HOST = Pattern.compile("[A-Za-z0-9._-]+");
    private static final Pattern IPV6 = Pattern.compile("[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*");
    private static final Pattern LOOPBACK = Pattern.compile("127(\\.[0-9]{1,3}){3}");

    /** Reads an endpoint. The error does not repeat the text, which may hold a password. */
    static Endpoint parse(String text) {
        boolean tls = text.startsWith("https://");
        if (!tls && !text.startsWith("http://")) {
            throw invalid("it begins neither with https:// nor with http://");
        }
        String authority = text.substring(text.indexOf("://") + 3);
        if (authority.endsWith("/")) {
            authority = authority.substring(0, authority.length() - 1);
        }
        if (authority.contains("@")) {
            throw invalid("it holds a user or a password, which are not sent");
        }
        if (authority.matches("(?s).*[/?#].*")) {
            throw invalid("it has a path, a query or a fragment");
        }
        String host;
        String port;
        if (authority.startsWith("[")) {
            int end = authority.indexOf(']');
            host = end < 0 ? "" : authority.substring(1, end);
            String after = end < 0 ? "" : authority.substring(end + 1);
            if (!IPV6.matcher(host).matches() || !(after.isEmpty() || after.startsWith(":"))) {
                throw invalid("its IPv6 address has another form than [address]:port");
            }
            port = after.isEmpty() ? null : after.substring(1);
        } else {
            int colon = authority.indexOf(':');
            host = colon < 0 ? authority : authority.substring(0, colon);
            port = colon < 0 ? null : authority.substring(colon + 1);
            if (!HOST.matcher(host).matches()) {
                throw invalid("its host is empty, or has a character that no host has");
            }
        }
        return new Endpoint(host, port == null ? (tls ? 443 : 80) : parsePort(port), tls);
    }

    static List<Endpoint> parse(Collection<String> texts) {
        if (texts.isEmpty()) {
            throw invalid("none is given");
        }
        return texts.stream().map(Endpoint::parse).toList();
    }

    private static int parsePort(String text) {
        int port = text.matches("[0-9]{1,5}") ? Integer.parseInt(text) : 0;
        if (port < 1 || port > 65_535) {
            throw invalid("its port is no number from 1 to 65535");
        }
        return port;
    }

    private static EndpointInvalidException invalid(String why) {
        String told = "The endpoint is no address of a server: " + why + ". Write https://host:port.";
        return new EndpointInvalidException(ErrorDetails.of(Status.Code.INVALID_ARGUMENT, told));
    }

    /** Whether nothing leaves this machine. Names are not looked up, but for the one that always means it. */
    boolean isLoopback() {
        return host.equals("localhost") || host.equals("::1") || LOOPBACK.matcher(host).matches();
    }

    String address() {
        return (host.contains(":") ? "[" + host + "]" : host) + ":" + port;
    }

    @Override
    public String toString() {
        return (tls ? "https://" : "http://") + address();
    }
}
