//! Files and formatted texts that the configuration names.

use std::{num::NonZero, path::Path, time::Duration};

use anyhow::{Context, ensure};
use jeton_io::files;
use serde::{Deserialize as _, Deserializer, de::Error as _};

use crate::{args::ServeArgs, listen::Network, mint::MasterKey, prober::ProberSettings};
use jeton_token::{ApiKey, pasted::without_blanks};

/// The settings in the file, and its text.
pub(super) fn read_file(path: &Path) -> anyhow::Result<(ServeArgs, String)> {
    let text = files::read_text(path)
        .with_context(|| format!("the configuration {} cannot be read", path.display()))?;
    let args = toml::from_str(&text).map_err(|error| {
        let place = error.span().map(|span| place(&text, span.start)).unwrap_or_default();
        anyhow::anyhow!("the configuration {} is not valid{place}: {}", path.display(), error.message())
    })?;
    Ok((args, text))
}

/// ` at line 3, listen`: nothing of the file but the name of a key.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or_default();
    let (number, start) = (
        before.matches('\n').count().saturating_add(1),
        before.rfind('\n').map_or(0, |end| end.saturating_add(1)),
    );
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let is_key = |key: &&str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let key = line.split_once('=').map(|(key, _)| key.trim()).filter(is_key);
    key.map_or_else(|| format!(" at line {number}"), |key| format!(" at line {number}, {key}"))
}

/// The prober, if it is requested.
pub(super) fn prober(
    every: Option<NonZero<u32>>,
    key_file: Option<&Path>,
    ca: Option<&Path>,
) -> anyhow::Result<Option<ProberSettings>> {
    let Some(every) = every else { return Ok(None) };
    let key_file = key_file.context("--probe-every needs --probe-key-file")?;
    let text = files::read_text(key_file)
        .with_context(|| format!("the prober's API key {} cannot be read", key_file.display()))?;
    let api_key = without_blanks(&text);
    ensure!(ApiKey::parse(api_key).is_some(), "{} holds no API key", key_file.display());
    if let Some(ca) = ca {
        files::read_pem(ca).with_context(|| format!("the authorities in {} cannot be read", ca.display()))?;
    }
    Ok(Some(ProberSettings {
        every: Duration::from_secs(every.get().into()),
        api_key_file: key_file.to_owned(),
        ca_file: ca.map(Path::to_owned),
    }))
}

/// The master key in a file.
pub fn read_master_key(path: &Path) -> anyhow::Result<MasterKey> {
    let text = files::read_text(path)
        .with_context(|| format!("the master key {} cannot be read", path.display()))?;
    MasterKey::parse(&text).map_err(|malformed| {
        anyhow::anyhow!("the master key in {} is not valid: {}", path.display(), malformed.rule)
    })
}

/// Networks in the file: a list of texts, as on the command line.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Network>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e5_trusted_proxies_in_the_file_are_those_of_the_command_line() {
        let args = toml::from_str::<ServeArgs>("trusted_proxy = ['10.0.0.0/8', 'fd00::/8']").ok();
        assert!(args.is_some_and(|args| args.trusted_proxy.len() == 2));
        assert!(toml::from_str::<ServeArgs>("trusted_proxy = ['10.0.0.0/33']").is_err());
    }
}
