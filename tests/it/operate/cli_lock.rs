//! `jeton lock`, `jeton unlock` and `jeton revoke --lock`: what is said, to people and to scripts.

use crate::world::{Refused, Shell, World, issue_request};

#[tokio::test]
async fn k22_a_subject_is_locked_listed_explained_and_unlocked_from_the_command_line() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    let shell = Shell::of(&world, "admin");
    let locked = shell.run(&["lock", "subject", "user:7", "--ttl", "2h", "--note", "INC-1"]).await;
    assert!(locked.data().starts_with("locked subject user:7 until 20"), "{locked:?}");
    assert!(locked.data().contains("): 1/1 replicas in "), "{locked:?}");
    for part in ["jeton unlock subject user:7", "jeton revoke --subject user:7 --reason compromised"] {
        assert!(locked.err.contains(part), "{part}: {locked:?}");
    }
    let shorter = shell.run(&["lock", "subject", "user:7", "--ttl", "1h", "--note", "INC-2"]).await;
    for part in ["It was locked already, until 20", "by admin (INC-1)", "does not shorten that"] {
        assert!(shorter.err.contains(part), "{part}: {shorter:?}");
    }
    let refused = service.issue(issue_request("user:7", &["api"])).await.refused();
    assert_eq!(refused.reason, "SUBJECT_LOCKED");
    let list = shell.run(&["lock", "list"]).await;
    for part in ["subject user:7", "admin", "INC-1", "(in "] {
        assert!(list.data().contains(part), "{part}: {list:?}");
    }
    assert!(!list.data().contains("until 20"), "the note is as it was given: {list:?}");
    let json = shell.run(&["lock", "list", "--output", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(json.data()).unwrap();
    assert_eq!(json["locks"][0]["subject"], "user:7", "{json}");
    let explained = shell.run(&["explain", "--subject", "user:7"]).await;
    assert!(explained.data().contains("subject user:7 is locked until 20"), "{explained:?}");
    assert!(explained.data().contains(", by admin (INC-1)"), "{explained:?}");
    let unlocked = shell.run(&["unlock", "subject", "user:7"]).await;
    assert!(
        unlocked.data().starts_with("unlocked subject user:7, which was locked until 20"),
        "{unlocked:?}"
    );
    service.token("user:7", "api").await;
    let again = shell.run(&["unlock", "subject", "user:7"]).await;
    assert!(again.code == 0 && again.data().starts_with("subject user:7 was not locked: 1/1"), "{again:?}");
    let none = shell.run(&["lock", "list"]).await;
    assert!(none.code == 0 && none.err.contains("Nothing is locked."), "{none:?}");
}

#[tokio::test]
async fn k22_a_revocation_says_that_its_target_can_be_issued_for_again_unless_it_locks_it() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    let shell = Shell::of(&world, "admin");
    let revoke = ["revoke", "--subject", "user:7", "--reason", "compromised", "--yes"];
    let open = shell.run(&revoke).await;
    let words = "Clients can issue for user:7 again at once. To prevent that: jeton lock subject user:7";
    assert!(open.code == 0 && open.err.contains(words), "{open:?}");
    service.token("user:7", "api").await;
    let locked = shell.run(&[&revoke[..], &["--lock", "4h"]].concat()).await;
    assert!(locked.code == 0 && !locked.err.contains("again at once"), "{locked:?}");
    assert!(locked.err.contains("It is locked until 20"), "{locked:?}");
    assert!(locked.err.contains("jeton unlock subject user:7"), "{locked:?}");
    let audit =
        shell.run(&["audit", "list", "--subject", "user:7", "--limit", "2", "--output", "json"]).await;
    let audit: serde_json::Value = serde_json::from_str(audit.data()).unwrap();
    let acts: Vec<_> = (0..2).map(|n| audit["auditEvents"][n]["action"].as_str()).collect();
    assert_eq!(acts, [Some("Revoke"), Some("Lock")], "newest first: {audit}");
    assert_eq!(service.issue(issue_request("user:7", &["api"])).await.refused().reason, "SUBJECT_LOCKED");
    let of_client = ["revoke", "--client", "service", "--reason", "compromised", "--yes", "--lock", "1h"];
    shell.run(&of_client).await.data();
    let refused = service.issue(issue_request("user:8", &["api"])).await.refused();
    assert_eq!(refused.reason, "CLIENT_LOCKED");
    let whoami = Shell::of(&world, "service").run(&["whoami"]).await;
    assert!(whoami.data().contains("This client is locked until 20"), "{whoami:?}");
}

#[tokio::test]
async fn k22_what_cannot_be_locked_is_told_before_or_by_the_server_and_no_opposite_is_offered() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let narrowed =
        ["revoke", "--subject", "user:7", "--audience", "api", "--reason", "leaked", "--lock", "1h"];
    let said = shell.run(&narrowed).await;
    assert!(said.code == 2 && said.err.contains("--lock locks a subject or a client"), "{said:?}");
    let said = shell.run(&["revoke", "--key", "x", "--reason", "leaked", "--lock", "1h"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    let said = shell.run(&["lock", "subject", "user:7", "--ttl", "31d"]).await;
    assert!(said.code == 2 && said.err.contains("--ttl") && said.err.contains("30d"), "{said:?}");
    let said = shell.run(&["lock", "client", "gone"]).await;
    assert!(said.code == 3 && said.err.contains("gone"), "{said:?}");
    let said = shell.run(&["lock", "client", "admin"]).await;
    assert!(said.err.contains("not locked"), "{said:?}");
    let said = shell.run(&["lcok", "subject", "user:7"]).await;
    assert!(said.code == 2 && said.err.contains("lock") && !said.err.contains("unlock"), "{said:?}");
    let denied = Shell::of(&world, "reader").run(&["lock", "subject", "user:7"]).await;
    assert!(denied.code == 4 && denied.err.contains("PERMISSION_REVOKE_WIDE"), "{denied:?}");
    assert_eq!(world.number("select count(*) from lock").await, 0);
}
