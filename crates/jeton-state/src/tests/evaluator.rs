//! The evaluator: every verdict, in its order.

use std::cell::Cell;

use super::*;
use crate::{Entry, Mark, MarkKind, Reason, Status};
use jeton_token::Thumbprint;

const END_MS: i64 = NOW_MS + 900_000;

fn revoke(bench: &Bench, reason: Reason) {
    let expire_time = UnixSeconds::new(NOW_S + 1_000);
    bench.root.apply(Entry::Token { id: claims().jti, expire_time, reason });
}

#[test]
fn v2_a_token_ends_at_its_exact_second_plus_the_leeway() {
    let bench = Bench::new();
    let strict = bench.mint(&claims());
    let lenient = bench.mint(&Claims { audiences: vec!["lenient".into()], ..claims() });
    let both = bench.mint(&Claims { audiences: vec!["lenient".into(), "api".into()], ..claims() });
    for (text, leeway_ms) in [(&strict, 0), (&lenient, 5_000), (&both, 0)] {
        // Judged first from the text, then from the cache.
        for _ in 0..2 {
            assert_eq!(bench.at(text, NOW_MS).status, Status::Active);
            assert_eq!(bench.at(text, END_MS + leeway_ms - 1).status, Status::Active);
            assert_eq!(bench.at(text, END_MS + leeway_ms).status, Status::Expired);
            assert_eq!(bench.at(text, i64::MAX).status, Status::Expired);
        }
    }
}

#[test]
fn v2_a_token_begins_at_its_exact_second_less_the_leeway() {
    let bench = Bench::new();
    let later = Some(UnixSeconds::new(NOW_S + 100));
    for (audience, leeway_ms) in [("api", 0), ("lenient", 5_000)] {
        let audiences = vec![audience.into()];
        let by_iat = bench.mint(&Claims { audiences: audiences.clone(), ..claims() });
        let by_nbf = bench.mint(&Claims { audiences, not_before: later, ..claims() });
        for (text, begin_ms) in [(by_iat, NOW_MS), (by_nbf, NOW_MS + 100_000)] {
            assert_eq!(bench.at(&text, begin_ms - leeway_ms - 1).status, Status::NotYetValid);
            assert_eq!(bench.at(&text, begin_ms - leeway_ms).status, Status::Active);
        }
    }
    let past = bench.mint(&Claims { not_before: Some(UnixSeconds::new(NOW_S - 500)), ..claims() });
    assert_eq!(bench.at(&past, NOW_MS - 1).status, Status::NotYetValid, "an earlier nbf does not undo iat");
    assert_eq!(bench.at(&past, i64::MIN).status, Status::NotYetValid);
}

#[test]
fn v1_the_checks_run_in_the_order_of_the_statuses() {
    let bench = Bench::new();
    revoke(&bench, Reason::Leaked);
    // Everything is wrong with it: as the faults are corrected one by one, each next one shows.
    let mut claims = Claims {
        issuer: "https://elsewhere.example".into(),
        not_before: Some(UnixSeconds::new(NOW_S + 300_000)),
        expire_time: UnixSeconds::new(NOW_S + 86_401),
        certificate_thumbprint: Some(Thumbprint::new([7; 32])),
        ..claims()
    };
    let wrong = ["web".to_owned()];
    let missing = ["write".to_owned()];
    let (audiences, scopes) = (["api".to_owned()], ["read".to_owned()]);
    let status = |claims: &Claims<'_>, audiences: &[String], scopes: &[String], thumbprint| {
        let accepted = Accepted { audiences: Some(audiences), scopes, thumbprint };
        let text = bench.sign(&claims.to_json());
        bench.judge().evaluate(&text, accepted, || NOW_MS + 200_000_000)
    };
    assert_eq!(status(&claims, &wrong, &missing, None).status, Status::WrongIssuer);
    claims.issuer = ISSUER.into();
    assert_eq!(status(&claims, &wrong, &missing, None).status, Status::LifetimeExceedsCap);
    claims.expire_time = UnixSeconds::new(NOW_S + 86_400);
    assert_eq!(status(&claims, &wrong, &missing, None).status, Status::NotYetValid);
    claims.not_before = None;
    assert_eq!(status(&claims, &wrong, &missing, None).status, Status::Expired);
    claims.issue_time = UnixSeconds::new(NOW_S + 199_999);
    claims.expire_time = UnixSeconds::new(NOW_S + 200_001);
    claims.jti = uuid_at(NOW_S + 199_999, 1);
    let entry = Entry::Token { id: claims.jti, expire_time: claims.expire_time, reason: Reason::Leaked };
    bench.root.apply(entry);
    let verdict = status(&claims, &wrong, &missing, None);
    assert_eq!((verdict.status, verdict.reason), (Status::Revoked, Some(Reason::Leaked)));
    claims.jti = uuid_at(NOW_S + 199_999, 2);
    let verdict = status(&claims, &wrong, &missing, None);
    assert_eq!((verdict.status, verdict.reason), (Status::WrongAudience, None));
    assert_eq!(status(&claims, &audiences, &missing, None).status, Status::MissingScope);
    assert_eq!(status(&claims, &audiences, &scopes, None).status, Status::WrongBinding);
    let other = Some(Thumbprint::new([8; 32]));
    assert_eq!(status(&claims, &audiences, &scopes, other).status, Status::WrongBinding);
    let verdict = status(&claims, &audiences, &scopes, claims.certificate_thumbprint);
    assert_eq!(verdict.status, Status::Active);
}

#[test]
fn v7_a_revocation_that_is_purged_while_a_call_is_paused_is_not_missed() {
    let bench = Bench::new();
    let text = bench.mint(&claims());
    assert_eq!(bench.at(&text, NOW_MS).status, Status::Active);
    let any = || Accepted { audiences: None, scopes: &[], thumbprint: None };
    let purge = || bench.root.tokens.forget_expired(UnixSeconds::new(i64::MAX));
    // The clock is read, then the call pauses, and the entry is purged: its look-up came before.
    revoke(&bench, Reason::Leaked);
    let verdict = bench.judge().evaluate(&text, any(), || {
        purge();
        END_MS - 1
    });
    assert_eq!(verdict.status, Status::Revoked);
    assert_eq!(bench.root.tokens.len(), 0, "it was purged");
    // The token was never seen: the clock is first read for its key, which counts for nothing. The last reading
    // decides.
    let bench = Bench { cache: VerifiedCache::with_capacity(1024 * 1024), ..bench };
    revoke(&bench, Reason::Leaked);
    let reading = Cell::new(0);
    let verdict = bench.judge().evaluate(&text, any(), || {
        reading.set(reading.get() + 1);
        if reading.get() == 1 {
            bench.root.tokens.forget_expired(UnixSeconds::new(i64::MAX));
            return END_MS - 1;
        }
        END_MS + 120_000
    });
    assert_eq!(verdict.status, Status::Expired);
}

#[test]
fn v7_a_cached_token_dies_with_its_key() {
    let bench = Bench::new();
    let text = bench.mint(&claims());
    assert_eq!(bench.at(&text, NOW_MS).status, Status::Active);
    assert_eq!(bench.cache.len(), 1);
    bench.set_key(KeyState::Retired, Some(NOW_S + 100));
    assert_eq!(bench.at(&text, NOW_MS + 99_999).status, Status::Active, "a retired key verifies");
    assert_eq!(bench.at(&text, NOW_MS + 100_000).status, Status::UnknownKey, "until it is gone");
    assert!(bench.at(&text, NOW_MS + 100_000).token.is_none());
    bench.set_key(KeyState::Revoked, Some(NOW_S + 100));
    let verdict = bench.at(&text, NOW_MS + 99_999);
    assert_eq!((verdict.status, verdict.reason), (Status::Revoked, Some(Reason::Unspecified)));
    assert_eq!(bench.at(&text, NOW_MS + 100_000).status, Status::UnknownKey);
    bench.root.keys.store(Arc::new(KeyRing::default()));
    assert_eq!(bench.at(&text, NOW_MS).status, Status::UnknownKey);
    bench.set_key(KeyState::Active, None);
    assert_eq!(bench.at(&text, NOW_MS).status, Status::Active);
}

#[test]
fn c1_a_pending_key_verifies_and_is_published_and_a_revoked_one_is_not() {
    let bench = Bench::new();
    let text = bench.mint(&claims());
    let now = UnixSeconds::new(NOW_S);
    for (state, status, published) in [
        (KeyState::Pending, Status::Active, 1),
        (KeyState::Active, Status::Active, 1),
        (KeyState::Retired, Status::Active, 1),
        (KeyState::Revoked, Status::Revoked, 0),
    ] {
        bench.set_key(state, None);
        assert_eq!(bench.at(&text, NOW_MS).status, status, "{state:?}");
        assert_eq!(bench.root.keys.load().published(now).count(), published, "{state:?}");
    }
}

#[test]
fn v7_a_key_mark_gives_its_reason_whatever_the_token_says() {
    let bench = Bench::new();
    let ahead = bench.mint(&Claims { revision: Revision::MAX, ..claims() });
    bench.root.apply(Entry::Mark(Mark {
        kind: MarkKind::Key,
        target: bench.key.key_id().to_owned(),
        audience: String::new(),
        position: revision(1),
        cutoff: UnixSeconds::new(0),
        reason: Reason::Compromised,
        expire_time: UnixSeconds::new(i64::MAX),
    }));
    let verdict = bench.at(&ahead, NOW_MS);
    assert_eq!((verdict.status, verdict.reason), (Status::Revoked, Some(Reason::Compromised)));
}

#[test]
fn v5_a_key_that_is_gone_is_unknown_whatever_the_signature_and_the_claims() {
    let bench = Bench::new();
    bench.set_key(KeyState::Retired, Some(NOW_S + 100));
    let good = bench.mint(&claims());
    let malformed = bench.sign(b"{}");
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    let broken = format!("{unsigned}.{}", base64url::encode([7; 64]));
    for (now_ms, statuses) in [
        (NOW_MS, [Status::Active, Status::Malformed, Status::BadSignature]),
        (NOW_MS + 100_000, [Status::UnknownKey; 3]),
    ] {
        let judged = [&good, &malformed, &broken].map(|text| bench.at(text, now_ms).status);
        assert_eq!(judged, statuses);
    }
}

#[test]
fn v7_a_mark_compares_with_rev_and_a_rev_ahead_of_the_log_is_older_than_every_mark() {
    let bench = Bench::new();
    let mark = |position, cutoff, audience: &str| Mark {
        kind: MarkKind::Subject,
        target: "user:7".to_owned(),
        audience: audience.to_owned(),
        position: revision(position),
        cutoff: UnixSeconds::new(cutoff),
        reason: Reason::Leaked,
        expire_time: UnixSeconds::new(i64::MAX),
    };
    let status = |place: i64| {
        let text = bench.mint(&Claims { revision: revision(place), ..claims() });
        bench.at(&text, NOW_MS).status
    };
    bench.root.apply(Entry::Mark(mark(0, NOW_S - 100, "")));
    assert_eq!(status(101), Status::Active, "a cutoff alone does not ask for rev");
    bench.root.apply(Entry::Mark(mark(60, 0, "web")));
    assert_eq!([0, 59, 101].map(status), [Status::Active; 3], "of another audience");
    bench.root.apply(Entry::Mark(mark(60, 0, "api")));
    assert_eq!([0, 59].map(status), [Status::Revoked; 2]);
    assert_eq!([60, 61, 100].map(status), [Status::Active; 3]);
    assert_eq!([101, 1 << 41].map(status), [Status::Revoked; 2], "beyond what is applied");
    bench.root.lease.publish(revision(101));
    assert_eq!(status(101), Status::Active, "and no more once it is");
}
