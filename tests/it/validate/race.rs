//! Validations that race with revocations: a call after the answer never gets ACTIVE.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use jeton::proto::v1::{TokenStatus, revocation_target::Kind};
use tokio::task::JoinSet;

use crate::world::World;

struct Target {
    token: String,
    jti: String,
    subject: String,
    /// Set when Revoke has answered.
    revoked: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn v7_a_call_that_starts_after_revoke_has_returned_never_says_active() {
    const TARGETS: usize = 120;
    const VALIDATIONS: usize = 2_000;
    let world = World::start().await;
    let (mut api, admin) = (world.api("service").await, world.api("admin").await);
    let mut targets = Vec::new();
    for index in 0..TARGETS {
        let subject = format!("user:{index}");
        let token = api.token(&subject, "api").await;
        targets.push(Target {
            token: token.access_token,
            jti: token.jti,
            subject,
            revoked: AtomicBool::new(false),
        });
    }
    let targets = Arc::new(targets);
    let (active, after) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut tasks = JoinSet::new();
    for revoker in 0..4 {
        let (targets, active, mut admin) = (Arc::clone(&targets), Arc::clone(&active), admin.clone());
        tasks.spawn(async move {
            // A caller has got ACTIVE before anything is revoked.
            while active.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            for index in (revoker..TARGETS).step_by(4) {
                let target = &targets[index];
                match index % 3 {
                    0 => admin.revoke(Kind::Token(target.token.clone())).await,
                    1 => admin.revoke(Kind::Jti(target.jti.clone())).await,
                    _ => admin.revoke_wide(Kind::Subject(target.subject.clone())).await,
                }
                .unwrap();
                target.revoked.store(true, Ordering::SeqCst);
            }
        });
    }
    for validator in 0..8 {
        let (targets, active, after) = (Arc::clone(&targets), Arc::clone(&active), Arc::clone(&after));
        // Connections of their own: they end up on different threads of the server.
        let mut api = world.api("service").await;
        tasks.spawn(async move {
            for round in 0.. {
                let all_revoked = targets.iter().all(|target| target.revoked.load(Ordering::SeqCst));
                if all_revoked && round >= VALIDATIONS / 8 {
                    break;
                }
                let target = &targets[(validator * 37 + round * 11) % TARGETS];
                let revoked = target.revoked.load(Ordering::SeqCst);
                let status = api.status(&target.token, "api").await;
                if revoked {
                    assert_eq!(status, TokenStatus::Revoked, "after Revoke had returned");
                    after.fetch_add(1, Ordering::Relaxed);
                } else {
                    assert!(matches!(status, TokenStatus::Active | TokenStatus::Revoked), "{status:?}");
                    active.fetch_add(u32::from(status == TokenStatus::Active), Ordering::Relaxed);
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert!(active.load(Ordering::Relaxed) > 0, "some were judged before their revocation");
    assert!(after.load(Ordering::Relaxed) > 0, "some were judged after it");
    for target in targets.iter() {
        assert_eq!(api.status(&target.token, "api").await, TokenStatus::Revoked);
    }
}
