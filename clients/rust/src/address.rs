//! The address of a server: `https://host:port` or `http://host:port`, and nothing more. A credential goes to it, so what
//! could be understood in another way than it was meant is refused.

use std::net::Ipv6Addr;

/// Checks that `url` is `http(s)://host[:port]`; one `/` at its end is accepted. The error is a clause that does not
/// repeat the text, which may hold a password.
pub fn check_address(url: &str) -> Result<(), &'static str> {
    if url.is_empty() {
        return Err("it is empty");
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or("it begins neither with https:// nor with http://")?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err("it holds a user or a password, which are not sent");
    }
    if authority.contains(['/', '?', '#']) {
        return Err("it has a path, a query or a fragment");
    }
    let port = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("its IPv6 address has no ] at the end")?;
        host.parse::<Ipv6Addr>().map_err(|_| "what stands between [ and ] is no IPv6 address")?;
        let port = after.strip_prefix(':');
        if port.is_none() && !after.is_empty() {
            return Err("something else than a port follows its host");
        }
        port
    } else {
        let (host, port) =
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        check_host(host)?;
        port
    };
    port.map_or(Ok(()), check_port)
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("it has no host");
    }
    let is_of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.bytes().all(is_of_a_host) {
        return Ok(());
    }
    Err("its host has a character that no host has (an international name is written in its xn-- form)")
}

fn check_port(port: &str) -> Result<(), &'static str> {
    let is_port =
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0);
    if is_port { Ok(()) } else { Err("its port is no number from 1 to 65535") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e22_an_address_is_a_scheme_a_host_and_a_port_and_nothing_more() {
        for good in [
            "http://127.0.0.1:7070",
            "https://jeton",
            "https://jeton.example:443/",
            "http://[::1]:7070",
            "https://[fd00::1]",
            "http://a_b-c.d:65535",
        ] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "jeton:7070",
            "ftp://h:1",
            "HTTP://h:1",
            "http://",
            "http://:1",
            "http://u:p@h:1",
            "http://h:1/x",
            "http://h:1//",
            "http://h:1?x",
            "http://h:1#x",
            "http://h:65536",
            "http://h:70700",
            "http://h:0",
            "http://h:",
            "http://h:+1",
            "http://h:1:2",
            "http://::1",
            "http://[::1",
            "http://[::1]x",
            "http://[::1]:",
            "http://[h]:1",
            "http://a b:1",
            "http://jéton:1",
            "http://h:1\n",
        ] {
            assert!(check_address(bad).is_err(), "{bad:?}");
        }
    }
}
