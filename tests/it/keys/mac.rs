//! MAC keys of refresh tokens rotate, too; a session keeps the one that it was opened with.

use std::{collections::BTreeSet, time::Duration};

use jeton::proto::v1::{self as pb, revocation_target::Kind};

use super::apis;
use crate::world::{Fleet, Refused, until, until_within};

fn refresh_token(issued: &pb::IssuedToken) -> String {
    issued.refresh.clone().unwrap().refresh_token
}

#[tokio::test]
async fn c1_mac_keys_rotate_while_sessions_live_and_each_session_keeps_its_own() {
    let fleet = Fleet::told(2, &["--rotate-keys-every", "4s", "--publish-keys-ahead", "1s"]).await;
    let mut service = apis(&fleet, "service");
    let mut sessions = Vec::new();
    let keys = "select count(distinct mac_key_id) from session";
    until_within(Duration::from_mins(1), "sessions of three MAC keys", async || {
        // Opened here, refreshed there: each replica knows the key before any session has it.
        for (opens, refreshes) in [(0, 1), (1, 0)] {
            let opened = service[opens].session("user:7", "api").await;
            sessions.push(service[refreshes].refresh(&refresh_token(&opened)).await.unwrap());
        }
        fleet.database.number(keys).await >= 3
    })
    .await;
    let distinct: BTreeSet<_> = sessions.iter().map(|session| session.session_id.clone()).collect();
    assert_eq!(distinct.len(), sessions.len());
    let (first, rest) = sessions.split_first().unwrap();
    let mut current = refresh_token(first);
    for place in [0, 1, 0] {
        current = refresh_token(&service[place].refresh(&current).await.unwrap());
    }
    for session in rest {
        service[0].refresh(&refresh_token(session)).await.unwrap();
    }
    let early = "select count(*) from mac_key where expire_time - retire_time < interval '90 days'";
    assert_eq!(fleet.database.number(early).await, 0, "kept for as long as a session can live");

    // Its last session has ended: it is removed everywhere, and its tokens are invalid.
    let oldest = "select mac_key_id from session order by id limit 1";
    fleet
        .database
        .execute(&format!(
            "begin; update mac_key set expire_time = now() - interval '1 s' where mac_key_id = ({oldest});
             select log_change(3::smallint, ''); commit"
        ))
        .await;
    let left = format!("select count(*) from mac_key where mac_key_id = ({oldest})");
    until("its row is gone", async || fleet.database.number(&left).await == 0).await;
    until("and it with it, on every replica", async || {
        let mut unknown = 0;
        for api in &mut service {
            let refused = api.refresh(&current).await;
            unknown += usize::from(
                refused.is_err_and(|it| Err::<(), _>(it).refused().reason == "REFRESH_TOKEN_INVALID"),
            );
        }
        unknown == 2
    })
    .await;
    let audited = "select count(*) from audit_event where action = 'DeleteMacKeys'";
    assert_eq!(fleet.database.number(audited).await, 1, "by one replica");
    let revoked = service[0].revoke(Kind::Token(current)).await.unwrap();
    assert_eq!(revoked.outcome(), pb::RevocationOutcome::Foreign);
}
