//! The endpoints of servers as people write them: one, or several by commas, of which the first that answers is used.

use std::ffi::OsStr;

use clap::{
    Arg, Command,
    builder::TypedValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use jeton_client::check_address;

/// The advice with each refusal.
pub const EXAMPLE: &str = "Write https://host:port, as in https://jeton.example:7070; several by commas";

/// The URLs of one listener of a deployment: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints(Vec<String>);

impl Endpoints {
    /// Parses endpoints that stand in one text, by commas. The error is a clause that does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        text.split(',').map(|one| url(one.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Parses endpoints that stand in texts of their own; `None` if there are none.
    pub fn of(texts: &[String]) -> Result<Option<Self>, &'static str> {
        let urls: Vec<_> = texts.iter().map(|one| url(one.trim())).collect::<Result<_, _>>()?;
        Ok(Some(Self(urls)).filter(|endpoints| !endpoints.0.is_empty()))
    }

    /// The URLs, in the order in which they are tried.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.0
    }

    /// Returns whether `url` is one of them.
    #[must_use]
    pub fn have(&self, url: &str) -> bool {
        self.0.iter().any(|own| own == url)
    }
}

/// The URL that was meant: ready files contain, and people write, a bare `host:port`.
pub fn url(given: &str) -> Result<String, &'static str> {
    let is_bare = !given.is_empty() && !given.contains("://");
    let url = if is_bare { format!("http://{given}") } else { given.to_owned() };
    check_address(&url)?;
    if is_bare && !has_port(given) {
        return Err("it has neither a scheme nor a port");
    }
    Ok(url.strip_suffix('/').map(str::to_owned).unwrap_or(url))
}

/// Returns whether an authority whose form is good has a port.
#[must_use]
pub fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
}

/// The parser of flags and variables. It does not repeat what it refuses.
#[derive(Clone, Copy, Debug)]
pub struct EndpointsParser;

impl TypedValueParser for EndpointsParser {
    type Value = Endpoints;

    fn parse_ref(&self, cmd: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Endpoints, clap::Error> {
        value.to_str().ok_or("it is not UTF-8").and_then(Endpoints::parse).map_err(|fault| {
            let name = arg.map_or_else(|| "the endpoint".to_owned(), Arg::to_string);
            let text = format!("{name} is no address of a server: {fault}. {EXAMPLE}.\n");
            let mut error = clap::Error::raw(ErrorKind::ValueValidation, text).with_cmd(cmd);
            // The report of the failure looks up the variable of this flag.
            error.insert(ContextKind::InvalidArg, ContextValue::String(name));
            error
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e22_an_address_becomes_a_url() {
        for (given, meant) in [
            ("127.0.0.1:7070", "http://127.0.0.1:7070"),
            ("[::1]:7070", "http://[::1]:7070"),
            ("http://jeton:7070/", "http://jeton:7070"),
            ("https://jeton", "https://jeton"),
        ] {
            assert_eq!(url(given).as_deref(), Ok(meant), "{given}");
        }
        for wrong in
            ["", "prod", "127.0.0.1", "[::1]", "/", "127.0.0.1:70700", "u:p@h:1", "ftp://h:1", "h:1/x"]
        {
            assert!(url(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn several_stand_by_commas() {
        let both = Endpoints::parse("https://a:1, b:2").map(|endpoints| endpoints.urls().to_vec());
        assert_eq!(both, Ok(vec!["https://a:1".to_owned(), "http://b:2".to_owned()]));
        for wrong in ["a:1,", ",a:1", "a:1,,b:2", "a:1 b:2"] {
            assert!(Endpoints::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
