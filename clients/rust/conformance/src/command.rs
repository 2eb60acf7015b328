//! One line of the driver.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// A command with its arguments; those that it does not have are empty.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Command {
    pub(crate) id: u64,
    #[serde(rename = "do")]
    pub(crate) verb: String,
    pub(crate) client: String,
    pub(crate) source: String,
    pub(crate) deadline_s: Option<f64>,
    // client.new
    pub(crate) endpoints: Vec<String>,
    pub(crate) admin_endpoints: Vec<String>,
    pub(crate) api_key: Option<String>,
    pub(crate) api_key_file: Option<String>,
    pub(crate) ca_file: Option<String>,
    pub(crate) cert_file: Option<String>,
    pub(crate) key_file: Option<String>,
    pub(crate) allow_plaintext: bool,
    // client.call, source.call
    pub(crate) method: String,
    pub(crate) request: Value,
    pub(crate) target: String,
    pub(crate) messages: u64,
    // source.new, guard.new
    pub(crate) subject: String,
    pub(crate) audiences: Vec<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) ttl_s: Option<f64>,
    pub(crate) refreshable: bool,
    pub(crate) refresh_token: Option<String>,
    pub(crate) refresh_token_file: Option<String>,
    pub(crate) mode: String,
    pub(crate) max_waiting: Option<usize>,
    pub(crate) recheck_s: Option<f64>,
    pub(crate) tls: Option<ServerFiles>,
}

/// The files of a server with TLS.
#[derive(Deserialize)]
pub(crate) struct ServerFiles {
    #[serde(rename = "cert_file")]
    pub(crate) certificate: String,
    #[serde(rename = "key_file")]
    pub(crate) key: String,
    #[serde(rename = "client_ca_file")]
    pub(crate) client_authority: String,
}

impl Command {
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadline_s.map(seconds)
    }
}

pub(crate) fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}
