//! Facts about a method that are known before its message is read: the greatest length of the message, and the
//! permission that callers need.

use super::METHODS;
use crate::{rpc::Listener, state::Permission};

/// The greatest length of a message, bytes. A token is judged up to 8 KiB, and the rest of a request is short.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// The same for Issue, whose claims may be long before they are refused; for `AdminService`'s writes, for their lists;
/// and for Envoy's Check, which repeats a request's headers: Envoy itself accepts 60 KiB of those.
pub(super) const LONG_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The same for a batch: a thousand tokens of the greatest length, and room for the rest of the requests.
pub(super) const BATCH_BYTES_MAX: usize = 9 * 1024 * 1024;

const TOKENS: &str = "/jeton.v1.TokenService/";
const ADMIN: &str = "/jeton.v1.AdminService/";
const ENVOY: &str = "/envoy.service.auth.v3.Authorization/";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECTION: &str = "/grpc.reflection.";

/// The facts about a method, as far as its path tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Method {
    /// The greatest length of a message. Bytes.
    pub(super) message_bytes_max: usize,
    /// Messages come one after another, for as long as the caller likes.
    pub(super) streams: bool,
    /// The answer goes on for as long as the caller likes, after its one message.
    pub(super) watches: bool,
    /// The permission that a caller needs; `None` if it depends on the message.
    pub(super) permission: Option<Permission>,
}

impl Method {
    /// The method of this path on this listener. A path that is not served needs no permission to be refused.
    pub(super) fn of(path: &str, listener: Listener) -> Self {
        let plain =
            Self { message_bytes_max: MESSAGE_BYTES_MAX, streams: false, watches: false, permission: None };
        let long = Self { message_bytes_max: LONG_MESSAGE_BYTES_MAX, ..plain };
        let judges = Self { permission: Some(Permission::Validate), ..plain };
        if let Some(name) = path.strip_prefix(TOKENS) {
            return match name {
                "Validate" => judges,
                "StreamValidate" => Self { streams: true, ..judges },
                "BatchValidate" => Self { message_bytes_max: BATCH_BYTES_MAX, ..judges },
                "Issue" => Self { permission: Some(Permission::Issue), ..long },
                "Refresh" => Self { permission: Some(Permission::Issue), ..plain },
                _ => plain,
            };
        }
        let is_served = || {
            listener == Listener::Admin && METHODS.iter().any(|served| path.strip_prefix('/') == Some(served))
        };
        if let Some(name) = path.strip_prefix(ADMIN).filter(|_| is_served()) {
            let reads = ["Get", "List"].iter().any(|verb| name.starts_with(verb));
            let permission = Some(if reads { Permission::AdminRead } else { Permission::AdminWrite });
            return if reads { Self { permission, ..plain } } else { Self { permission, ..long } };
        }
        if path.starts_with(ENVOY) && listener == Listener::Public {
            return Self { message_bytes_max: LONG_MESSAGE_BYTES_MAX, ..judges };
        }
        Self { streams: path.starts_with(REFLECTION), watches: path == WATCH, ..plain }
    }
}
