//! The primary is lost, and its synchronous standby takes its place: a new epoch.

use jeton::proto::v1 as pb;
use jeton_token::{Algorithm, SigningKey};

use super::{assert_waited, revoke_all, revoke_somewhere, revoke_when_let, timed};
use crate::world::{Answer, Database, Fleet, Postgres, Shell, pem, steady, until};

pub(super) async fn promote(standby: &Database) {
    assert_eq!(standby.number("select pg_promote(true, 60)::int::bigint").await, 1, "not within a minute");
}

fn kid_of(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

fn epoch_of(revision: &str) -> i64 {
    revision.split_once('.').unwrap().0.parse().unwrap()
}

// M13: under the assumption that the standby holds every acknowledged commit.
#[tokio::test]
async fn k9_what_was_acknowledged_stays_revoked_when_a_standby_takes_over() {
    let mut postgres = Postgres::start().await;
    let standby = postgres.stand_by().await;
    let fleet = Fleet::on(postgres.database(), 3).await;
    let mut revoker = fleet.caller(0);
    let good = revoker.token("user:good").await;
    let (early, late) = (revoker.tokens("user:7", 30).await, revoker.tokens("user:8", 90).await);
    let first = revoker.revoked(super::target(&early[0])).await;
    revoke_all(&revoker, &early[1..]).await;
    let all: Vec<_> = early.iter().chain(&late).cloned().collect();
    let asking: Vec<_> = (0..3).map(|place| fleet.ask(place, &all)).collect();
    let (revoking, let_go) = revoke_when_let(&fleet, &late, 15);
    let complete = Answer::Revoked { complete: true };
    let_go.add_permits(45);
    until("revocations go on", async || fleet.history.answered(&complete) >= early.len() + 15).await;
    let_go.add_permits(45);
    postgres.crash().await;
    promote(&standby).await;
    for replica in &fleet.replicas {
        replica.link.redirect(&standby.url);
    }
    revoking.join_all().await;
    for place in 0..3 {
        fleet.is_back(place, &good, &all).await;
    }
    let mut caller = fleet.caller(1);
    let token = caller.token("user:9").await;
    let last = caller.revoked(super::target(&token)).await;
    assert!(epoch_of(&last.revision) > epoch_of(&first.revision), "{} {}", first.revision, last.revision);
    fleet.all_revoked(&[token]).await;
    for each in asking {
        each.end().await;
    }
    fleet.history.assert_no_stale_answer();
    assert!(fleet.history.answered(&Answer::ACTIVE) > 100, "{}", fleet.history.tally());
    assert_eq!(standby.number("select count(*) from revocation").await, 121);
}

// The same holds for acknowledged verbs on the database: a key that signs, and a key that only verifies. A later verb
// finds the new primary.
#[tokio::test]
async fn k9_a_key_that_was_imported_goes_on_when_a_standby_takes_over_and_an_operator_can_end_it_there() {
    let mut postgres = Postgres::start().await;
    let standby = postgres.stand_by().await;
    let fleet = Fleet::on(postgres.database(), 2).await;
    let [signing, verifying] = [(); 2].map(|()| SigningKey::generate(Algorithm::Es256).unwrap());
    let mut shell = Shell::new();
    shell.environment.push(("JETON_DATABASE_URL".to_owned(), postgres.database().url));
    for (key, state) in [(&signing, "active"), (&verifying, "retired")] {
        shell.write("key.pem", &pem(key.pkcs8()));
        shell.run(&["key", "import", "--file", "key.pem", "--state", state]).await.with_code(0);
    }
    let mut caller = fleet.caller(0);
    let token = caller.token("user:7").await;
    assert_eq!(kid_of(&token.text), signing.key_id());
    postgres.crash().await;
    promote(&standby).await;
    for replica in &fleet.replicas {
        replica.link.redirect(&standby.url);
    }
    let followed = "select count(*) from replica r, log_head h where h.epoch > 1 and r.epoch = h.epoch";
    until("both have come to a new epoch", async || standby.number(followed).await == 2).await;
    for place in 0..2 {
        fleet.is_back(place, &token, &[]).await;
        let mut caller = fleet.caller(place);
        let jwks = caller.api.discovery.get_jwks(pb::GetJwksRequest::default()).await.unwrap().into_inner();
        for key in [&signing, &verifying] {
            assert!(jwks.jwks_json.contains(key.key_id()), "{}", jwks.jwks_json);
        }
    }
    let next = caller.token("user:7").await;
    assert_eq!(kid_of(&next.text), signing.key_id(), "it signs there");
    shell.environment.push(("JETON_DATABASE_URL".to_owned(), standby.url.clone()));
    let said = shell.run(&["epoch", "bump", "--revoke-keys"]).await;
    said.with_code(0);
    assert!(said.out.contains("every signing key and MAC key is revoked"), "{said:?}");
    fleet.all_revoked(&[token, next]).await;
}

// M15: a replica that cannot commit renews no lease.
#[tokio::test]
async fn k9_a_replica_that_talks_to_the_old_primary_gets_no_lease_there() {
    let mut postgres = Postgres::start().await;
    let standby = postgres.stand_by().await;
    let fleet = Fleet::on(postgres.database(), 3).await;
    let mut revoker = fleet.caller(0);
    let good = revoker.token("user:good").await;
    let tokens = revoker.tokens("user:7", 20).await;
    let asking: Vec<_> = (0..3).map(|place| fleet.ask(place, &tokens)).collect();
    // The old one lives on, and takes itself for the primary.
    promote(&standby).await;
    for replica in &fleet.replicas[..2] {
        replica.link.redirect(&standby.url);
    }
    let mut revokers = [fleet.caller(0), fleet.caller(1)];
    for token in &tokens {
        revoke_somewhere(&mut revokers, token).await;
    }
    let mut cut_off = fleet.caller(2);
    let answer = cut_off.validate(&good).await;
    assert!(answer.is_stale_state(), "{answer:?}");
    fleet.history.assert_no_stale_answer();
    for place in [0, 1] {
        fleet.is_back(place, &good, &tokens).await;
    }
    // Until it finds the new one.
    fleet.link_of(2).redirect(&standby.url);
    fleet.is_back(2, &good, &tokens).await;
    for each in asking {
        each.end().await;
    }
    fleet.history.assert_no_stale_answer();
    assert!(fleet.history.refused_as_stale("r2") > 0, "{}", fleet.history.tally());
}

// M15: a standby answers from a past that others have left behind.
#[tokio::test]
async fn k9_a_replica_that_talks_to_a_standby_gets_no_lease_there() {
    steady(async || {
        let mut postgres = Postgres::start().await;
        let standby = postgres.stand_by().await;
        let fleet = Fleet::on(postgres.database(), 2).await;
        let mut revoker = fleet.caller(0);
        let good = revoker.token("user:good").await;
        let tokens = revoker.tokens("user:7", 10).await;
        let asking = fleet.ask(1, &tokens);
        standby.execute("select pg_wal_replay_pause()").await;
        fleet.link_of(1).redirect(&standby.url);
        assert_waited(&timed(&mut revoker, &tokens[0]).await, "r1");
        revoke_all(&revoker, &tokens[1..]).await;
        let mut misled = fleet.caller(1);
        until("it refuses", async || misled.validate(&good).await.is_stale_state()).await;
        fleet.history.assert_no_stale_answer();
        fleet.link_of(1).redirect(&postgres.database().url);
        fleet.is_back(1, &good, &tokens).await;
        asking.end().await;
        fleet.history.assert_no_stale_answer();
    })
    .await;
}
