//! Locks: wire ↔ domain.

use crate::{
    authority::{Invalid, LockChanged, LockRequest, UnlockRequest},
    proto::{
        v1 as pb,
        v1::{lock_request, unlock_request},
    },
    rpc::convert::{lock, propagation, wait_of, whole_seconds},
    state::LockKind,
};

pub(in crate::rpc) fn lock_request(request: pb::LockRequest) -> Result<LockRequest, Invalid> {
    let (kind, target) = match request.target.ok_or_else(|| Invalid::required("target"))? {
        lock_request::Target::Subject(subject) => (LockKind::Subject, subject),
        lock_request::Target::ClientId(client_id) => (LockKind::Client, client_id),
    };
    Ok(LockRequest {
        kind,
        target,
        ttl_s: whole_seconds("ttl", request.ttl.ok_or_else(|| Invalid::required("ttl"))?)?,
        note: request.note,
        wait: wait_of("wait_timeout", request.wait_timeout)?,
    })
}

pub(in crate::rpc) fn unlock_request(request: pb::UnlockRequest) -> Result<UnlockRequest, Invalid> {
    let (kind, target) = match request.target.ok_or_else(|| Invalid::required("target"))? {
        unlock_request::Target::Subject(subject) => (LockKind::Subject, subject),
        unlock_request::Target::ClientId(client_id) => (LockKind::Client, client_id),
    };
    let wait = wait_of("wait_timeout", request.wait_timeout)?;
    Ok(UnlockRequest { kind, target, note: request.note, wait })
}

pub(in crate::rpc) fn locked(changed: LockChanged, in_full: bool) -> pb::LockResponse {
    pb::LockResponse {
        lock: changed.lock.map(|it| lock(&it, in_full)),
        propagation: Some(propagation(changed.propagation)),
        earlier_lock: changed.earlier.map(|it| lock(&it, in_full)),
    }
}

pub(in crate::rpc) fn unlocked(changed: LockChanged, in_full: bool) -> pb::UnlockResponse {
    pb::UnlockResponse {
        lock: changed.earlier.map(|it| lock(&it, in_full)),
        propagation: Some(propagation(changed.propagation)),
    }
}
