//! E7: what Prometheus reads.

use std::collections::BTreeMap;

use jeton::{
    edge::METHODS,
    observe::{KEY_ALGORITHMS, REFRESH_OUTCOMES, REVOKE_OUTCOMES},
    proto::v1::{self as pb, revocation_target::Kind},
    state::Status,
};

use crate::world::{Api, Server, World, steady, until};

/// Series by name and labels, as written.
type Scrape = BTreeMap<String, f64>;

/// Reads the exposition format 0.0.4, strictly: anything that is not of its grammar fails the test.
fn parse(text: &str) -> Scrape {
    assert!(text.ends_with('\n'), "the last line ends, too");
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut series = Scrape::new();
    let mut family = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("HELP"), Some(name), Some(help)) => {
                    assert!(is_name(name) && !help.is_empty(), "{line}");
                }
                (Some("TYPE"), Some(name), Some(kind @ ("counter" | "gauge" | "histogram"))) => {
                    assert!(is_name(name), "{line}");
                    assert!(types.insert(name, kind).is_none(), "one TYPE per family: {line}");
                    family = name;
                }
                _ => panic!("no comment that Prometheus knows: {line}"),
            }
            continue;
        }
        let (id, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let (name, labels) = match id.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
            None => (id, ""),
        };
        check_labels(labels, line);
        let kind = types.get(family).unwrap_or_else(|| panic!("no TYPE before {line}"));
        let rest = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} among {family}"));
        let suffixes: &[&str] = if *kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.contains(&rest), "{line} in a {kind}");
        assert!(*kind == "gauge" || value >= 0.0, "{line}");
        assert!(series.insert(id.to_owned(), value).is_none(), "twice: {line}");
    }
    series
}

fn is_name(name: &str) -> bool {
    let first = name.chars().next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn check_labels(mut labels: &str, line: &str) {
    while !labels.is_empty() {
        let (name, rest) = labels.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(is_name(name), "{line}");
        let mut escaped = false;
        let end = rest
            .find(|c| {
                let is_end = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                is_end
            })
            .unwrap_or_else(|| panic!("no end: {line}"));
        labels = &rest[end + 1..];
        if let Some(more) = labels.strip_prefix(',') {
            assert!(!more.is_empty(), "{line}");
            labels = more;
        } else {
            assert!(labels.is_empty(), "{line}");
        }
    }
}

async fn scrape(server: &Server) -> Scrape {
    let (status, body) = server.ops("/metrics").await;
    assert_eq!(status, 200);
    parse(&body)
}

fn one(name: &str, label: &str, value: &str) -> String {
    format!("{name}{{{label}=\"{value}\"}}")
}

fn calls(method: &str, code: &str) -> String {
    format!(
        "rpc_server_call_duration_seconds_count{{rpc_system_name=\"grpc\",rpc_method=\"{method}\",rpc_response_status_code=\"{code}\"}}"
    )
}

/// The metrics that the documents tell operators to watch.
fn named_in_documents() -> Vec<&'static str> {
    const DOCUMENTS: [&str; 2] =
        [include_str!("../../../docs/operating.md"), include_str!("../../../docs/immediate-revocation.md")];
    const PREFIXES: [&str; 4] = ["jeton_", "rpc_server_", "http_server_", "db_client_"];
    let quoted = DOCUMENTS.iter().flat_map(|text| text.split('`').skip(1).step_by(2));
    let names = quoted.map(|code| code.split('{').next().unwrap_or_default());
    let names: Vec<_> =
        names.filter(|name| PREFIXES.iter().any(|it| name.starts_with(it)) && is_name(name)).collect();
    assert!(names.len() > 15, "{names:?}");
    names
}

#[tokio::test]
async fn e7_every_documented_metric_is_there_at_the_first_scrape() {
    let world = World::start().await;
    let first = scrape(&world.server).await;
    let mut documented = Vec::new();
    documented.extend(METHODS.map(|method| calls(method, "OK")));
    documented.extend(["Issue", "Refresh"].map(|rpc| one("jeton_tokens_issued_total", "rpc", rpc)));
    documented.extend(Status::ALL.map(|status| one("jeton_validations_total", "status", status.name())));
    documented.extend(REFRESH_OUTCOMES.map(|outcome| one("jeton_refreshes_total", "outcome", outcome)));
    documented.extend(REVOKE_OUTCOMES.map(|outcome| one("jeton_revocations_total", "outcome", outcome)));
    documented.extend(["token", "session", "mark"].map(|kind| one("jeton_revocations_held", "kind", kind)));
    documented.extend(["used", "idle"].map(|state| one("db_client_connection_count", "state", state)));
    for name in ["jeton_key_age_seconds", "jeton_key_rotation_seconds"] {
        documented.extend(KEY_ALGORITHMS.map(|algorithm| one(name, "algorithm", algorithm)));
    }
    let high_water = ["jeton_revocations_high_water", "jeton_revocations_above_high_water"];
    documented.extend(high_water.map(str::to_owned));
    let single = ["jeton_lease_age_seconds", "jeton_log_applied_sequence", "jeton_default_partition_rows"];
    documented.extend(single.map(str::to_owned));
    // Every metric that the documents name exists, above all those that operators are told to watch.
    for name in named_in_documents() {
        let is_of_it = |rest: &str| rest.is_empty() || rest.starts_with('{') || rest.starts_with("_count");
        assert!(first.keys().any(|id| id.strip_prefix(name).is_some_and(is_of_it)), "{name} is documented");
    }
    let missing: Vec<_> = documented.iter().filter(|id| !first.contains_key(*id)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    // Every RPC that is served is measured by name.
    let served = [
        ("TokenService", &["Issue", "Refresh", "Validate", "BatchValidate", "StreamValidate", "Revoke"][..]),
        ("DiscoveryService", &["GetJwks", "GetServerInfo"]),
    ];
    for (service, methods) in served {
        for method in methods {
            assert!(first.contains_key(&calls(&format!("jeton.v1.{service}/{method}"), "OK")), "{method}");
        }
    }
    let counters = first.iter().filter(|(id, _)| id.contains("_total"));
    assert!(counters.clone().count() > 0);
    for (id, value) in counters {
        assert!(*value <= 0.0, "{id} at the first scrape");
    }
}

/// Does a known number of everything.
async fn work(world: &World, api: &mut Api) {
    let mut nobody = world.api_with_key("jtk_nonsense").await;
    let token = api.token("user:7", "api").await.access_token;
    let session = api.session("user:7", "api").await;
    let refresh = session.refresh.unwrap().refresh_token;
    for _ in 0..3 {
        assert_eq!(api.status(&token, "api").await, pb::TokenStatus::Active);
    }
    assert_eq!(api.status(&token, "other").await, pb::TokenStatus::WrongAudience);
    assert_eq!(api.status("garbage", "api").await, pb::TokenStatus::Malformed);
    let batch = vec![crate::world::validate_request(&token, &["api"]); 5];
    api.tokens.batch_validate(pb::BatchValidateRequest { requests: batch }).await.unwrap();
    api.refresh(&refresh).await.unwrap();
    api.refresh("jtr_forged").await.unwrap_err();
    api.revoke(Kind::Token(token.clone())).await.unwrap();
    api.revoke(Kind::Token(token.clone())).await.unwrap();
    api.revoke(Kind::Token("garbage".to_owned())).await.unwrap();
    assert_eq!(api.status(&token, "api").await, pb::TokenStatus::Revoked);
    nobody.validate(&token, &["api"]).await.unwrap_err();
}

#[tokio::test]
async fn counts_move_by_exactly_what_was_done() {
    steady(async || {
        let world = World::start().await;
        let mut api = world.api("service").await;
        let before = scrape(&world.server).await;
        work(&world, &mut api).await;
        let after = scrape(&world.server).await;
        let service = |method: &str, code| calls(&format!("jeton.v1.TokenService/{method}"), code);
        let expected = BTreeMap::from([
            (one("jeton_tokens_issued_total", "rpc", "Issue"), 2.0),
            (one("jeton_tokens_issued_total", "rpc", "Refresh"), 1.0),
            (one("jeton_validations_total", "status", "ACTIVE"), 8.0),
            (one("jeton_validations_total", "status", "WRONG_AUDIENCE"), 1.0),
            (one("jeton_validations_total", "status", "MALFORMED"), 1.0),
            (one("jeton_validations_total", "status", "REVOKED"), 1.0),
            (one("jeton_refreshes_total", "outcome", "ROTATED"), 1.0),
            (one("jeton_refreshes_total", "outcome", "INVALID"), 1.0),
            (one("jeton_revocations_total", "outcome", "REVOKED"), 1.0),
            (one("jeton_revocations_total", "outcome", "ALREADY_REVOKED"), 1.0),
            (one("jeton_revocations_total", "outcome", "FOREIGN"), 1.0),
            (service("Issue", "OK"), 2.0),
            (service("Validate", "OK"), 6.0),
            (service("Validate", "UNAUTHENTICATED"), 1.0),
            (service("BatchValidate", "OK"), 1.0),
            (service("Refresh", "OK"), 1.0),
            (service("Refresh", "UNAUTHENTICATED"), 1.0),
            (service("Revoke", "OK"), 3.0),
        ]);
        let counted = |id: &str| id.contains("_total") || id.contains("_seconds_count");
        let moved: BTreeMap<_, _> = after
            .iter()
            .filter(|(id, _)| counted(id))
            .map(|(id, value)| (id.clone(), value - before.get(id).unwrap_or(&0.0)))
            .filter(|(_, moved)| *moved != 0.0)
            .collect();
        assert_eq!(moved, expected);
        let sequence = "jeton_log_applied_sequence";
        assert!(after[sequence] > before[sequence], "revocations move the log");
        // While it is held, which a machine that stands still may interrupt.
        until("the lease is young", async || {
            (0.0..2.7).contains(&scrape(&world.server).await["jeton_lease_age_seconds"])
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_histogram_is_whole_after_calls() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    api.token("user:7", "api").await;
    let scraped = scrape(&world.server).await;
    let labels =
        "rpc_system_name=\"grpc\",rpc_method=\"jeton.v1.TokenService/Issue\",rpc_response_status_code=\"OK\"";
    let buckets: Vec<_> = scraped
        .iter()
        .filter(|(id, _)| id.starts_with(&format!("rpc_server_call_duration_seconds_bucket{{{labels},le=")))
        .collect();
    assert_eq!(buckets.len(), 13, "twelve and +Inf");
    let infinite = &scraped[&format!("rpc_server_call_duration_seconds_bucket{{{labels},le=\"+Inf\"}}")];
    let count = scraped[&format!("rpc_server_call_duration_seconds_count{{{labels}}}")];
    assert!((infinite - count).abs() < 0.5 && count > 0.5, "{infinite} {count}");
    assert!(buckets.iter().all(|(_, value)| *value <= infinite));
    assert!(scraped[&format!("rpc_server_call_duration_seconds_sum{{{labels}}}")] > 0.0);
}
