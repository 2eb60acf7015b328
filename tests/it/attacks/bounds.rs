//! The effect of each attack, checked one after another, because the memory of a server is measured.

use std::{sync::Arc, time::Duration};

use jeton::proto::v1::{self as pb, TokenStatus};

use super::{ATTACKS, Attack, means::Site};
use crate::world::{frames::RST_STREAM, validate_request};

/// The bound over the idle server, under any attack.
const MORE_MAX: u64 = 32 << 20;
/// Memory that a test adds for other reasons: the cache of tokens, pages of tables.
const SLACK: u64 = 4 << 20;

/// The server holds little, whichever listener is attacked, and all of it is available to others afterwards.
async fn holds_little(attack: Attack) {
    let name = ATTACKS.iter().find(|(_, known)| std::ptr::fn_addr_eq(*known, attack)).unwrap().0;
    for site in [Site::plaintext().await, Site::with_tls().await] {
        let site = Arc::new(site);
        let (more, held) = site.attacked(attack).await;
        assert!(more <= MORE_MAX + SLACK, "{name}: {} MiB more", more >> 20);
        // Others get their part while all of it is held.
        let batch = vec![validate_request(&site.token, &["api"]); 1_000];
        let answer = site.modest().tokens.batch_validate(pb::BatchValidateRequest { requests: batch }).await;
        assert_eq!(answer.unwrap().into_inner().verdicts.len(), 1_000);
        drop(held);
    }
}

#[tokio::test]
#[ignore = "it takes the machine for itself: make attacks"]
async fn e15_messages_of_strangers_that_do_not_arrive_hold_little() {
    holds_little(super::unfinished_of_strangers).await;
}

#[tokio::test]
#[ignore = "it takes the machine for itself: make attacks"]
async fn e15_messages_of_a_client_that_do_not_arrive_hold_little_and_others_have_their_part() {
    holds_little(super::unfinished_of_a_client).await;
}

#[tokio::test]
#[ignore = "it takes the machine for itself: make attacks"]
async fn e15_answers_of_streams_that_are_not_taken_hold_little_on_all_connections_together() {
    holds_little(super::untaken_streams).await;
}

#[tokio::test]
#[ignore = "it takes the machine for itself: make attacks"]
async fn e15_answers_of_streams_of_strangers_that_are_not_taken_hold_little_on_all_connections_together() {
    holds_little(super::untaken_reflection).await;
}

#[tokio::test]
#[ignore = "it takes the machine for itself: make attacks"]
async fn e15_small_answers_of_strangers_that_are_not_taken_hold_little_on_all_connections_together() {
    holds_little(super::untaken_documents).await;
}

#[tokio::test]
#[ignore = "it takes the machine for itself: make attacks"]
async fn e15_calls_of_strangers_that_stay_open_hold_little_on_all_connections_together() {
    holds_little(super::watches_of_strangers).await;
}

#[tokio::test]
#[ignore = "it takes the machine for itself: make attacks"]
async fn e15_calls_of_a_client_that_stay_open_hold_little_on_all_connections_together() {
    holds_little(super::watches_of_a_client).await;
}

#[tokio::test]
#[ignore = "it takes the machine for itself: make attacks"]
async fn e15_heads_that_refer_to_what_was_sent_before_hold_little() {
    holds_little(super::heads).await;
}

#[tokio::test]
#[ignore = "it takes the machine for itself: make attacks"]
async fn e15_batches_of_bad_signatures_hold_little() {
    holds_little(super::bad_signatures).await;
}

#[tokio::test]
#[ignore = "it takes the machine for itself: make attacks"]
async fn e15_answers_that_are_not_taken_hold_little_and_their_streams_are_reset() {
    for site in [Site::plaintext().await, Site::with_tls().await] {
        let site = Arc::new(site);
        let (more, held) = site.attacked(super::untaken_batches).await;
        assert!(more <= MORE_MAX + SLACK, "{} MiB more", more >> 20);
        let mut modest = site.modest();
        let batch = vec![validate_request(&site.token, &["api"]); 1_000];
        let answer = modest.tokens.batch_validate(pb::BatchValidateRequest { requests: batch }).await;
        assert_eq!(answer.unwrap().into_inner().verdicts.len(), 1_000);
        // Answers that are not taken do not stay: the stream is reset, or the connection ends.
        for mut frames in held {
            let ended = async {
                while let Some(came) = frames.next().await {
                    if came.kind == RST_STREAM {
                        break;
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(90), ended).await.expect("a reset, or the end");
        }
        assert_eq!(modest.status(&site.token, "api").await, TokenStatus::Active);
    }
}
