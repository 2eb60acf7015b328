//! The measured figures: `figures.json`, which `scripts/write-figures` writes, as it was when this program was built.
//! Parsed strictly: a plan from half of the figures would look like one from all.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The committed file.
const TEXT: &str = include_str!("../../figures.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    machine: BTreeMap<String, String>,
    figures: Vec<Figure>,
}

/// One figure, and its origin.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: String,
    /// The origin: a number or curve of the bench, or another source.
    pub from: String,
}

/// The figures that the model uses: names, as in the file, and units.
macro_rules! figures {
    ($($name:ident: $unit:literal,)*) => {
        /// The figures by name.
        #[derive(Clone, Debug)]
        pub struct Figures {
            $(pub $name: f64,)*
        }

        /// Each figure with its unit.
        const NAMES: &[(&str, &str)] = &[$((stringify!($name), $unit),)*];

        impl Figures {
            fn take(found: &BTreeMap<&str, f64>) -> Option<Self> {
                Some(Self { $($name: *found.get(stringify!($name))?,)* })
            }
        }
    };
}

figures! {
    validate_seen_1k_us: "us_cpu_per_call",
    validate_seen_100k_us: "us_cpu_per_call",
    validate_seen_1m_us: "us_cpu_per_call",
    validate_unseen_us: "us_cpu_per_call",
    validate_stream_us: "us_cpu_per_call",
    validate_batch_us: "us_cpu_per_call",
    issue_us: "us_cpu_per_call",
    validate_request_bytes: "bytes",
    validate_answer_bytes: "bytes",
    replica_base_bytes: "bytes",
    revocation_bytes: "bytes",
    token_bytes: "bytes",
    token_cache_bytes: "bytes",
    connection_bytes: "bytes",
    start_base_s: "s",
    start_us_per_revocation: "us",
    commits_per_second: "per_second",
    reads_per_second: "per_second",
    refreshes_per_second: "per_second",
    revokes_per_second_1: "per_second",
    revokes_per_second_3: "per_second",
    revokes_per_second_10: "per_second",
    commit_p50_ms: "ms",
    revoke_p50_ms_1: "ms",
    revoke_p50_ms_3: "ms",
    revoke_p50_ms_10: "ms",
    revoke_p99_ms_1: "ms",
    revoke_p99_ms_3: "ms",
    revoke_p99_ms_10: "ms",
    revocation_row_bytes: "bytes",
    audit_row_bytes: "bytes",
    session_row_bytes: "bytes",
    revocation_wal_bytes: "bytes",
    refresh_wal_bytes: "bytes",
}

/// The parsed file.
#[derive(Debug)]
pub struct Measured {
    /// The machine of the measurements.
    pub machine: BTreeMap<String, String>,
    /// Its cores, which load, server and Postgres shared.
    pub cores: f64,
    pub figures: Figures,
    /// The same figures with their origins.
    pub all: Vec<Figure>,
}

/// The figures that this program was built with.
pub fn measured() -> Result<Measured, String> {
    parse(TEXT)
}

fn parse(text: &str) -> Result<Measured, String> {
    let File { machine, figures: all } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let cores = machine.get("cores").and_then(|cores| cores.parse().ok());
    let cores =
        cores.filter(|cores| *cores >= 1.0).ok_or("it does not say how many cores the machine has")?;
    for name in ["cpu", "memory", "postgres", "time"] {
        if machine.get(name).is_none_or(String::is_empty) {
            return Err(format!("it does not describe the machine's {name}"));
        }
    }
    let mut found = BTreeMap::new();
    for Figure { name, value, unit, from } in &all {
        let Some((_, expected)) = NAMES.iter().find(|(known, _)| known == name) else {
            return Err(format!("{name} is no figure that anything uses"));
        };
        if unit != expected {
            return Err(format!("{name} is in {expected}, not in {unit}"));
        }
        if !(value.is_finite() && *value > 0.0) || from.is_empty() {
            return Err(format!("{name} is no measured figure: {value} from {from:?}"));
        }
        if found.insert(name.as_str(), *value).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    let figures = Figures::take(&found).ok_or_else(|| {
        let missing: BTreeSet<_> =
            NAMES.iter().map(|(name, _)| *name).filter(|name| !found.contains_key(name)).collect();
        format!("it lacks {}", Vec::from_iter(missing).join(", "))
    })?;
    Ok(Measured { machine, cores, figures, all })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_committed_figures_are_whole() {
        let measured = measured().unwrap();
        assert_eq!(measured.all.len(), NAMES.len());
        let Figures { validate_seen_1k_us, validate_unseen_us, revoke_p50_ms_1, revoke_p99_ms_1, .. } =
            measured.figures;
        assert!(validate_seen_1k_us < validate_unseen_us, "a signature costs something");
        assert!(revoke_p50_ms_1 <= revoke_p99_ms_1);
    }

    #[test]
    fn the_cache_of_verified_tokens_is_as_large_as_the_server_makes_it() {
        let mib = f64::from(jeton::serve::Bounds::TOKEN_CACHE_MIB.get());
        let planned = measured().unwrap().figures.token_cache_bytes;
        assert!((planned - mib * 1_048_576.0).abs() < 0.5, "run scripts/write-figures: {planned}");
    }

    #[test]
    fn a_file_without_a_name_or_with_a_strange_one_is_refused() {
        let whole: serde_json::Value = serde_json::from_str(TEXT).unwrap();
        let with = |change: &dyn Fn(&mut Vec<serde_json::Value>)| {
            let mut changed = whole.clone();
            change(changed["figures"].as_array_mut().unwrap());
            parse(&changed.to_string()).unwrap_err()
        };
        for (index, (name, _)) in NAMES.iter().enumerate() {
            let error = with(&|figures| {
                figures.remove(index);
            });
            assert_eq!(error, format!("it lacks {name}"), "the file has the order of the names");
        }
        assert!(with(&|figures| figures[0]["name"] = "typo_us".into()).contains("typo_us is no figure"));
        assert!(with(&|figures| figures[0]["unit"] = "ms".into()).contains("is in us_cpu_per_call"));
        assert!(with(&|figures| figures[0]["value"] = 0.into()).contains("no measured figure"));
        assert!(with(&|figures| figures[0]["from"] = "".into()).contains("no measured figure"));
        assert!(with(&|figures| figures.push(figures[0].clone())).contains("twice"));
        assert!(with(&|figures| figures[0]["bar"] = 1.into()).contains("unknown field"));
        let mut nowhere = whole.clone();
        nowhere["machine"].as_object_mut().unwrap().remove("cpu");
        assert!(parse(&nowhere.to_string()).unwrap_err().contains("cpu"));
    }
}
