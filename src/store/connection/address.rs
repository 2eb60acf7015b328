//! The database's URL, parsed strictly: an ignored part may be what keeps a password secret. No value of it is ever
//! part of an error.

use std::{fmt::Write, net::IpAddr, path::Path, str::FromStr, sync::Arc};

use jeton_io::files;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::store::StoreError;

/// The default port.
const PORT: u16 = 5432;
/// Longer names of parameters are not repeated in an error: they may be half of a password.
const NAME_BYTES_MAX: usize = 32;

/// The address of the database.
#[derive(Clone)]
pub(in crate::store) struct Address {
    /// The connection options.
    pub(in crate::store) options: PgConnectOptions,
    /// Settings of each connection: made by statements, because poolers drop those that a client requests at the start.
    pub(in crate::store) settings: Vec<(String, String)>,
    /// Host and database, for people.
    pub(in crate::store) at: Arc<str>,
}

/// The parts of a URL, decoded.
#[derive(Default)]
struct Parts {
    user: Option<String>,
    password: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    ssl_mode: Option<PgSslMode>,
    ssl_files: SslFiles,
    options: Option<String>,
}

#[derive(Default)]
struct SslFiles {
    authorities: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Address {
    /// Parses a URL.
    pub(in crate::store) fn parse(url: &str) -> Result<Self, StoreError> {
        Parts::parse(url).and_then(Parts::resolve).map_err(StoreError::Url)
    }
}

impl Parts {
    fn parse(url: &str) -> Result<Self, String> {
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let rest = rest.ok_or("it begins with postgres:// or postgresql://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if rest.contains('#') || behind.contains('@') {
            return Err(ENCODE.to_owned());
        }
        let (path, query) = behind.split_once('?').unwrap_or((behind, ""));
        let mut parts = Self::default();
        let place = match authority.rsplit_once('@') {
            Some((user, place)) => {
                parts.take_user(user)?;
                place
            }
            None => authority,
        };
        parts.take_place(place)?;
        let database = decoded(path.trim_start_matches('/'))?;
        parts.database = Some(database).filter(|name| !name.is_empty());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or("each parameter after ? is NAME=VALUE")?;
            parts.take_parameter(&decoded(name)?, decoded(value)?)?;
        }
        Ok(parts)
    }

    fn take_user(&mut self, text: &str) -> Result<(), String> {
        let (user, password) = match text.split_once(':') {
            Some((user, password)) => (user, Some(decoded(password)?)),
            None => (text, None),
        };
        self.user = Some(decoded(user)?).filter(|user| !user.is_empty());
        self.password = password;
        Ok(())
    }

    fn take_place(&mut self, text: &str) -> Result<(), String> {
        if text.contains(',') {
            return Err(ONE_HOST.to_owned());
        }
        let (host, port) = match text.strip_prefix('[') {
            // An IPv6 address is in brackets.
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or("an IPv6 address stands in [ and ]")?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| "an IPv6 address stands in [ and ]")?;
                (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")).ok_or(BAD_PORT)?)
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        if !host.is_empty() {
            self.host = Some(decoded(host)?);
        }
        if !port.is_empty() {
            self.port = Some(port_of(port)?);
        }
        Ok(())
    }

    fn take_parameter(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "sslmode" => self.ssl_mode = Some(ssl_mode(&value)?),
            // libpq's name for the system's authorities; here they are used without a file.
            "sslrootcert" => self.ssl_files.authorities = Some(value).filter(|file| file != "system"),
            "sslcert" => self.ssl_files.certificate = Some(value),
            "sslkey" => self.ssl_files.key = Some(value),
            "host" | "port" if value.contains(',') => return Err(ONE_HOST.to_owned()),
            "host" => self.host = Some(value).filter(|host| !host.is_empty()),
            "port" => self.port = Some(port_of(&value)?),
            "dbname" => self.database = Some(value),
            "user" => self.user = Some(value),
            "password" => self.password = Some(value),
            "options" => self.options = Some(value),
            "target_session_attrs" => match value.as_str() {
                // jeton connects to nothing else.
                "any" | "read-write" | "primary" => {}
                _ => return Err("target_session_attrs is read-write: jeton writes".to_owned()),
            },
            _ => return Err(not_understood(name)),
        }
        Ok(())
    }

    /// The options for connecting. Without `sslmode` the server must prove its identity, unless nobody can be in
    /// between.
    fn resolve(self) -> Result<Address, String> {
        // The crate's defaults and the password file depend on a URL; this one has nothing to decode.
        let mut options = PgConnectOptions::from_str(&self.plain_url()).map_err(|_| "it cannot be read")?;
        if let Some(password) = &self.password {
            options = options.password(password);
        }
        let mut settings = Vec::new();
        if let Some(more) = &self.options {
            // Unchanged: its words are separated, not escaped.
            let words = more.split_whitespace().collect::<Vec<_>>();
            for setting in words.iter().filter(|word| **word != "-c") {
                let setting = setting.strip_prefix("--").or(setting.strip_prefix("-c")).unwrap_or(setting);
                let (name, value) = setting.split_once('=').ok_or("options is -c NAME=VALUE")?;
                settings.push((name.to_owned(), value.to_owned()));
            }
        }
        let socket = options.get_socket().map(|socket| socket.display().to_string());
        let host = socket.unwrap_or_else(|| options.get_host().to_owned());
        let ssl_mode = match self.ssl_mode {
            // There is no TLS on a Unix socket.
            _ if host.starts_with('/') => PgSslMode::Disable,
            Some(asked) => asked,
            None if is_loopback(&host) => PgSslMode::Prefer,
            None => PgSslMode::VerifyFull,
        };
        options = options.ssl_mode(ssl_mode);
        let SslFiles { authorities, certificate, key } = self.ssl_files;
        for (file, parameter) in [(&authorities, "sslrootcert"), (&certificate, "sslcert"), (&key, "sslkey")]
        {
            if let Some(Err(error)) = file.as_ref().map(|file| files::read(Path::new(file))) {
                return Err(format!("the file of {parameter} cannot be used: {error}"));
            }
        }
        if let Some(file) = authorities {
            options = options.ssl_root_cert(file);
        }
        if let Some(file) = certificate {
            options = options.ssl_client_cert(file);
        }
        if let Some(file) = key {
            options = options.ssl_client_key(file);
        }
        let place = match (host.starts_with('/'), host.contains(':')) {
            (true, _) => host,
            (false, true) => format!("[{host}]:{}", options.get_port()),
            (false, false) => format!("{host}:{}", options.get_port()),
        };
        let database = options.get_database().unwrap_or(options.get_username());
        Ok(Address { at: format!("{database} at {place}").into(), settings, options })
    }

    fn plain_url(&self) -> String {
        let mut url = format!("postgres:///?port={}", self.port.unwrap_or(PORT));
        for (name, value) in [("host", &self.host), ("user", &self.user), ("dbname", &self.database)] {
            if let Some(value) = value {
                let _infallible = write!(url, "&{name}={}", encoded(value));
            }
        }
        url
    }
}

const ENCODE: &str = "special characters in a user name or password are percent-encoded, such as %40 for @, %2F for / \
                      and %3F for ?";
const ONE_HOST: &str = "it names one host: give a name or a proxy that follows the primary";
const BAD_PORT: &str =
    "a port is a number from 1 to 65535, and special characters in a password are percent-encoded";

fn port_of(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| BAD_PORT.to_owned())
}

fn ssl_mode(text: &str) -> Result<PgSslMode, String> {
    match text {
        "disable" => Ok(PgSslMode::Disable),
        "prefer" => Ok(PgSslMode::Prefer),
        "require" => Ok(PgSslMode::Require),
        "verify-ca" => Ok(PgSslMode::VerifyCa),
        "verify-full" => Ok(PgSslMode::VerifyFull),
        _ => Err("sslmode is verify-full, verify-ca, require, prefer or disable".to_owned()),
    }
}

fn not_understood(name: &str) -> String {
    let is_name = name.len() <= NAME_BYTES_MAX
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'-');
    if !is_name {
        return format!("it has a parameter that jeton does not know; {ENCODE}");
    }
    let instead = match name {
        "hostaddr" => "give the address as host",
        "application_name" => "jeton names its connections itself",
        "connect_timeout" => "jeton waits 2 s",
        "sslpassword" => "give sslkey a file without a password",
        "ssl-mode" | "ssl_mode" => "it is called sslmode",
        "sslrootcert-file" | "ssl-root-cert" | "ssl_root_cert" | "sslca" => "it is called sslrootcert",
        _ => "leave it out",
    };
    format!("the parameter {name} is not known here: {instead}")
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Percent-decoded.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(BAD_PERCENT.to_owned()) };
        bytes.push(u8::try_from(high.saturating_mul(16).saturating_add(low)).unwrap_or_default());
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).ok_or_else(|| BAD_PERCENT.to_owned())
}

const BAD_PERCENT: &str = "a % stands before two hex digits of a UTF-8 text: percent-encode it as %25";

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    fn read(url: &str) -> PgConnectOptions {
        Address::parse(url).unwrap().options
    }

    fn refused(url: &str) -> String {
        Address::parse(url).err().expect("a refusal").to_string()
    }

    fn mode(url: &str) -> String {
        format!("{:?}", read(url).get_ssl_mode())
    }

    #[test]
    fn every_part_is_read() {
        let options = read("postgres://us%40er:p%2Fa%3Fss@db.example:6543/na%20me?sslmode=require");
        assert_eq!(
            (options.get_username(), options.get_host(), options.get_port()),
            ("us@er", "db.example", 6543)
        );
        assert_eq!(options.get_database(), Some("na me"));
        let options = read("postgresql://u@h?dbname=d&port=1&user=v");
        assert_eq!((options.get_database(), options.get_port(), options.get_username()), (Some("d"), 1, "v"));
        let socket = read("postgres://u@localhost:5432/d?host=%2Frun%2Fpg");
        assert_eq!(socket.get_socket().map(|path| path.display().to_string()).as_deref(), Some("/run/pg"));
        assert_eq!(read("postgres://u@%2Frun%2Fpg/d").get_socket(), socket.get_socket());
        let url = "postgres://u@h/d?options=-c%20search_path%3Djeton%20--work_mem%3D8MB";
        let settings = [("search_path", "jeton"), ("work_mem", "8MB")];
        assert_eq!(
            Address::parse(url).unwrap().settings,
            settings.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert!(Address::parse("postgres://u@h/d?target_session_attrs=read-write").is_ok());
    }

    #[test]
    fn e15_files_of_the_url_have_a_length() {
        for parameter in ["sslrootcert", "sslcert", "sslkey"] {
            let said = refused(&format!("postgres://u@h/d?{parameter}=/dev/zero"));
            assert!(said.contains(parameter) && said.contains("longer than 4 MiB"), "{said}");
            assert!(!said.contains("/dev/zero"), "no value of the URL: {said}");
            let said = refused(&format!("postgres://u@h/d?{parameter}=/nowhere/at/all"));
            assert!(said.contains(parameter) && said.contains("No such file"), "{said}");
            assert!(!said.contains("/nowhere"), "no value of the URL: {said}");
        }
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let options = read("postgres://u:p@[::1]:5433/d");
        assert_eq!((options.get_host(), options.get_port()), ("::1", 5433));
        assert_eq!(read("postgres://u@[2001:db8::7]/d").get_port(), 5432);
        assert_eq!(&*Address::parse("postgres://u:p@[2001:db8::7]/d").unwrap().at, "d at [2001:db8::7]:5432");
        for bad in ["postgres://u@[::1/d", "postgres://u@[x]/d", "postgres://u@[::1]5/d"] {
            assert!(!refused(bad).is_empty());
        }
    }

    #[test]
    fn without_sslmode_the_server_must_prove_who_it_is() {
        assert_eq!(mode("postgres://u@db.example/d"), "VerifyFull");
        assert_eq!(mode("postgres://u@10.0.0.7/d"), "VerifyFull");
        assert_eq!(mode("postgres://u@[2001:db8::7]/d"), "VerifyFull");
        assert_eq!(mode("postgres://u@localhost.example/d"), "VerifyFull");
        for near in ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"] {
            assert_eq!(mode(&format!("postgres://u@{near}/d")), "Prefer", "{near}");
            assert_eq!(mode(&format!("postgres://u@{near}/d?sslmode=verify-full")), "VerifyFull", "{near}");
        }
        assert_eq!(mode("postgres:///d?host=/run/pg"), "Disable");
        for (asked, got) in
            [("disable", "Disable"), ("prefer", "Prefer"), ("require", "Require"), ("verify-ca", "VerifyCa")]
        {
            assert_eq!(mode(&format!("postgres://u@db.example/d?sslmode={asked}")), got);
        }
        for bad in ["allow", "", "Verify-Full", "none"] {
            assert!(
                refused(&format!("postgres://u@h/d?sslmode={bad}")).contains("sslmode is verify-full"),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name_and_no_value_is_said() {
        for (parameter, advice) in [
            ("ssl_mode=verify-full", "the parameter ssl_mode is not known here: it is called sslmode"),
            ("connect_timeout=12SECRET", "connect_timeout"),
            ("sslpassword=12SECRET", "sslpassword"),
            ("channel_binding=12SECRET", "channel_binding"),
            ("target_session_attrs=12SECRET", "target_session_attrs is read-write"),
            ("port=12SECRET", "a port is a number"),
            ("12SECRET=x", "a parameter that jeton does not know"),
            ("12SECRET", "NAME=VALUE"),
        ] {
            let said = refused(&format!("postgres://u:12SECRET@h/d?{parameter}"));
            assert!(said.contains(advice) && !said.contains("SECRET"), "{parameter}: {said}");
        }
        for url in [
            "postgres://u:12?SECRET@h/x",
            "postgres://u:12/SECRET@h/x",
            "postgres://u:12#SECRET@h/x",
            "postgres://u:12#SECRET",
        ] {
            let said = refused(url);
            assert!(said.contains("percent-encoded") && !said.contains("SECRET"), "{url}: {said}");
        }
        for url in
            ["postgres://u:12%SECRET@h/x", "postgres://h:SECRET/x", "mysql://u:SECRET@h/x", "SECRET", ""]
        {
            assert!(!refused(url).contains("SECRET"), "{url}");
        }
    }

    #[test]
    fn several_hosts_are_refused_in_words() {
        for url in [
            "postgres://u@a,b/d",
            "postgres://u@a:1,b:2/d",
            "postgres://u@/d?host=a,b",
            "postgres://u@a/d?port=1,2",
        ] {
            assert!(refused(url).contains("it names one host"), "{url}");
        }
    }

    #[test]
    fn the_place_names_neither_user_nor_password() {
        let at = Address::parse("postgres://USER:PASS@db.example/d?sslmode=disable").unwrap().at;
        assert_eq!(&*at, "d at db.example:5432");
    }
}
