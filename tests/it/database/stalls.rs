//! K1, E3: the connections of one name alone hang, lose replies, break, or break within a message: nothing stale is
//! answered, and all goes on.

use crate::world::{AUDIT, Asking, FEED, FLEET, FLUSHER, Fleet, LEASE, LISTEN, Link, POOL, REFRESH};

use super::{answers_again, ends_well, revoke};

async fn one_at_a_time(names: &[&str]) {
    let fleet = Fleet::start(2).await;
    let good = fleet.caller(0).token("user:good").await;
    let faults: [fn(&Link, &str); 5] =
        [Link::stall, Link::hold_replies, Link::cut, Link::cut_within_request, Link::cut_within_reply];
    let tokens = fleet.caller(0).tokens("user:7", 2 * names.len() * faults.len()).await;
    let asking: Vec<_> = (0..2).map(|place| Asking::start([fleet.caller(place)], &tokens)).collect();
    let mut pairs = tokens.chunks(2);
    for name in names {
        for fault in faults {
            let pair = pairs.next().unwrap();
            fault(fleet.link_of(0), name);
            // At the other replica, which waits for this one at most as long as a lease can last.
            revoke(&mut fleet.caller(1), &pair[0]).await;
            fleet.link_of(0).resume(name);
            revoke(&mut fleet.caller(0), &pair[1]).await;
            answers_again(&fleet, &good).await;
        }
    }
    ends_well(&fleet, asking, &tokens).await;
}

#[tokio::test]
async fn k1_where_the_connection_to_append_or_to_read_fails_alone_no_answer_is_stale() {
    one_at_a_time(&[FLUSHER, FEED]).await;
}

#[tokio::test]
#[ignore = "a minute: make faults"]
async fn k1_where_any_one_connection_fails_alone_no_answer_is_stale() {
    one_at_a_time(&[POOL, FEED, LEASE, FLUSHER, FLEET, REFRESH, AUDIT, LISTEN]).await;
}
