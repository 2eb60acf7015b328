//! Replicas that reach each other over TLS: the prober.

use crate::world::{Authority, Secure, api_key, until};

fn series(outcome: &str) -> String {
    format!("jeton_probes_total{{outcome=\"{outcome}\"}}")
}

/// A world whose server probes every second, and trusts this authority or that of the servers.
async fn probing(trusts: Option<Authority>) -> Secure {
    Secure::start_with(|files, servers| {
        let (key, ca) =
            (files.join("probe.key"), trusts.as_ref().unwrap_or(servers).write(files, "probe.pem"));
        std::fs::write(&key, api_key("service")).unwrap();
        let files = [("--probe-key-file", key), ("--probe-ca", ca)];
        let files = files.into_iter().flat_map(|(flag, path)| [flag.to_owned(), path.display().to_string()]);
        ["--probe-every", "1"].map(str::to_owned).into_iter().chain(files).collect()
    })
    .await
}

#[tokio::test]
async fn k1_the_prober_reaches_other_replicas_over_tls() {
    let secure = probing(None).await;
    let directory = tempfile::tempdir().unwrap();
    let _other = secure.another(directory.path()).await;
    until("a canary was seen dead", async || secure.world.metric(&series("dead")).await >= 1.0).await;
    assert!(secure.world.metric(&series("alive")).await < 1.0);
}

#[tokio::test]
async fn k1_a_prober_that_does_not_trust_the_replicas_says_so_and_proves_nothing() {
    let secure = probing(Some(Authority::new("foreign"))).await;
    let directory = tempfile::tempdir().unwrap();
    let _other = secure.another(directory.path()).await;
    until("it came to nothing", async || {
        secure.world.metric(&series("failed")).await + secure.world.metric(&series("unanswered")).await >= 1.0
    })
    .await;
    assert!(secure.world.metric(&series("dead")).await < 1.0);
    assert!(secure.world.server.logged().contains("a probe of the replicas failed"));
}
