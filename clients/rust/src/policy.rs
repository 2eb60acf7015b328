//! How each method is called: its time, and whether it may be repeated. It is the service config of all clients.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use serde::Deserialize;

/// A copy of `clients/service_config.json`: a package holds only its own files.
const SERVICE_CONFIG: &str = include_str!("../service_config.json");

/// How a method is called.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Policy {
    /// The deadline, unless the caller gives one.
    pub(crate) timeout: Duration,
    /// How often all endpoints are asked, at most.
    pub(crate) rounds: u32,
    /// Returns whether the method may be repeated.
    pub(crate) repeats: bool,
    first: Duration,
    longest: Duration,
    multiplier: f64,
}

const OTHERS: Policy = Policy {
    timeout: Duration::from_secs(10),
    rounds: 1,
    repeats: false,
    first: Duration::ZERO,
    longest: Duration::ZERO,
    multiplier: 1.0,
};

impl Policy {
    /// The same with so many rounds, if they are given.
    pub(crate) fn with_rounds(self, rounds: Option<u32>) -> Self {
        Self { rounds: rounds.unwrap_or(self.rounds), ..self }
    }

    /// The pause after the round with this number, from 0: full jitter.
    pub(crate) fn pause(&self, round: u32) -> Duration {
        let grown = self.first.as_secs_f64() * self.multiplier.powi(i32::try_from(round).unwrap_or(i32::MAX));
        jitter(Duration::try_from_secs_f64(grown).unwrap_or(self.longest).min(self.longest))
    }
}

/// A random time between 0 and `limit`.
pub(crate) fn jitter(limit: Duration) -> Duration {
    limit.mul_f64(fastrand::f64())
}

/// The policy of a method, by its path: `/jeton.v1.TokenService/Issue`.
pub(crate) fn policy_of(path: &str) -> Policy {
    let service = path.rsplit_once('/').map_or(path, |(service, _)| service);
    POLICIES.get(path).or_else(|| POLICIES.get(service)).copied().unwrap_or(OTHERS)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    method_config: Vec<MethodConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MethodConfig {
    name: Vec<Name>,
    timeout: String,
    retry_policy: Option<RetryPolicy>,
}

#[derive(Deserialize)]
struct Name {
    service: String,
    method: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetryPolicy {
    max_attempts: u32,
    initial_backoff: String,
    max_backoff: String,
    backoff_multiplier: f64,
}

static POLICIES: LazyLock<HashMap<String, Policy>> = LazyLock::new(|| {
    // A test reads it: it cannot be wrong.
    let config: Config = serde_json::from_str(SERVICE_CONFIG).unwrap_or_default();
    let mut found = HashMap::new();
    for MethodConfig { name, timeout, retry_policy } in config.method_config {
        let timeout = duration(&timeout);
        let policy = match retry_policy {
            Some(retry) => Policy {
                timeout,
                rounds: retry.max_attempts,
                repeats: true,
                first: duration(&retry.initial_backoff),
                longest: duration(&retry.max_backoff),
                multiplier: retry.backoff_multiplier,
            },
            None => Policy { timeout, ..OTHERS },
        };
        for Name { service, method } in name {
            let path = match method {
                Some(method) => format!("/{service}/{method}"),
                None => format!("/{service}"),
            };
            found.insert(path, policy);
        }
    }
    found
});

/// `0.1s`, as protojson writes a duration.
fn duration(text: &str) -> Duration {
    let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(OTHERS.timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_all_clients() {
        assert_eq!(SERVICE_CONFIG, include_str!("../../service_config.json"));
        let policy = |method: &str| policy_of(&format!("/jeton.v1.{method}"));
        let (issue, validate) = (policy("TokenService/Issue"), policy("TokenService/Validate"));
        assert_eq!((issue.rounds, issue.repeats, issue.timeout), (4, true, Duration::from_secs(10)));
        assert_eq!((validate.rounds, validate.timeout), (3, Duration::from_secs(2)));
        assert!(!policy("AdminService/RotateKey").repeats && policy("AdminService/ListKeys").repeats);
        assert!(policy("DiscoveryService/GetJwks").repeats && !policy("New/New").repeats);
        for round in [0, 1, 5, u32::MAX] {
            assert!(issue.pause(round) <= Duration::from_secs(2));
        }
        assert!(issue.pause(0) <= Duration::from_millis(100));
    }
}
