//! The prober: its reports when all is well, and when a replica does not know of a revocation.

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::world::{Ready, Server, ServerOptions, World, api_key, channel, until};

async fn probed(ready: &Ready) -> Option<ServingStatus> {
    health(ready, "jeton.promise").await
}

async fn health(ready: &Ready, service: &str) -> Option<ServingStatus> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel(&ready.public)).check(request).await;
    answer.ok().map(|answer| answer.into_inner().status())
}

/// A world whose server probes every so many seconds, and the file with the key that it does so with.
async fn probing(every_s: &str) -> (World, tempfile::NamedTempFile) {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), api_key("service")).unwrap();
    let key_file = key.path().to_str().unwrap().to_owned();
    let arguments = ["--probe-every".to_owned(), every_s.to_owned(), "--probe-key-file".to_owned(), key_file];
    let options = ServerOptions { arguments: arguments.to_vec(), ..ServerOptions::default() };
    (World::start_with(options).await, key)
}

fn series(outcome: &str) -> String {
    format!("jeton_probes_total{{outcome=\"{outcome}\"}}")
}

#[tokio::test]
async fn k1_a_canary_that_is_revoked_on_one_replica_is_seen_dead_on_the_others() {
    let (idle, _its_key) = probing("3600").await;
    assert_eq!(probed(&idle.server.ready).await, None, "unknown before the first probe");
    drop(idle);
    let (world, _key) = probing("1").await;
    let directory = tempfile::tempdir().unwrap();
    let mut other = Server::start(&world.database.url, directory.path(), &ServerOptions::default()).await;
    assert_eq!(probed(&other.ready).await, None, "it does not probe");
    until("a probe was answered", async || world.metric(&series("dead")).await >= 2.0).await;
    // But for one that comes to nothing on a machine without time: the next is good.
    let well = async || probed(&world.server.ready).await == Some(ServingStatus::Serving);
    until("the latest probe was good", well).await;
    assert!(world.metric("jeton_probe_revoke_seconds").await > 0.0);

    // A replica that died says nothing, which is not the worst: it holds no lease.
    other.kill();
    until("nobody is left to ask", async || world.number("select count(*) from replica").await == 1).await;
    assert!(world.metric(&series("alive")).await < 1.0);
    until("the latest probe was good", well).await;
    // One that cannot be reached says nothing of the promise, and that is said apart.
    // It has acknowledged everything, so that no revocation waits for it.
    let unreached = "with mute as (insert into replica (id, name, version, address, epoch, beat, beat_time, start_time) \
                     select gen_random_uuid(), 'mute', '', 'http://127.0.0.1:1', epoch, 0, now(), now() from log_head \
                     where not exists (select from replica where name = 'mute') returning id, epoch) \
                     insert into replica_ack (id, revision) select id, epoch * 1099511627776 + 549755813888 from mute";
    let why = || {
        let log = world.server.logged();
        let mut lines = log.lines().filter(|line| line.contains("a replica did not answer a probe"));
        lines.any(|line| line.contains("\"mute\"") && line.contains("Connection refused"))
    };
    until("the probe is not answered, and it is said why", async || {
        world.sql(unreached).await;
        health(&world.server.ready, "jeton.probe").await == Some(ServingStatus::NotServing) && why()
    })
    .await;
    assert_eq!(probed(&world.server.ready).await, Some(ServingStatus::Serving));
}

#[tokio::test]
async fn k1_a_replica_that_does_not_know_of_a_revocation_is_found() {
    let (mut world, _key) = probing("1").await;
    // A server on a copy of the database: the same keys, and another log.
    world.server.kill();
    let copy = world.database.copy().await;
    copy.claim_log().await;
    world.server =
        Server::start(&world.database.url, world.directory.path(), &world.server.same_ports()).await;
    let directory = tempfile::tempdir().unwrap();
    let deaf = Server::start(&copy.url, directory.path(), &ServerOptions::default()).await;
    // Registered like a replica of this database, until it is removed.
    until("the canary was seen alive", async || {
        world
            .sql(&format!(
                "insert into replica (id, name, version, address, epoch, beat, beat_time, start_time) select gen_random_uuid(), 'deaf', '', 'http://{}', epoch, 0, now(), now() from log_head where not exists (select from replica where name = 'deaf')",
                deaf.ready.public
            ))
            .await;
        world.metric(&series("alive")).await > 0.0
    })
    .await;
    until("it is logged", async || world.server.logged().contains("immediate revocation does not hold"))
        .await;
    // As long as it is so: a broken promise has a name of its own, and so has a probe that was not answered.
    until("health tells", async || probed(&world.server.ready).await == Some(ServingStatus::NotServing))
        .await;
    assert_eq!(health(&world.server.ready, "jeton.probe").await, Some(ServingStatus::Serving));
}
