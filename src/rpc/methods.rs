//! What is known of a method before anything of its message is read: how long that may be, and whom it is for.

use super::METHODS;
use crate::{rpc::Listener, state::Permission};

/// Bytes of one message. A token is looked at up to 8 KiB, and the rest of a request is short.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Of Issue, whose claims may be long before they are refused; of `AdminService`'s writes, for their lists; of Envoy's
/// Check, which repeats a request's headers: Envoy itself takes 60 KiB of those.
pub(super) const LONG_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Of a batch: a thousand tokens, each as long as a text may be that is looked at, and room for the rest of the requests.
pub(super) const BATCH_BYTES_MAX: usize = 9 * 1024 * 1024;

const TOKENS: &str = "/jeton.v1.TokenService/";
const ADMIN: &str = "/jeton.v1.AdminService/";
const ENVOY: &str = "/envoy.service.auth.v3.Authorization/";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECTION: &str = "/grpc.reflection.";

/// A method, as far as its path tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Method {
    /// The length of one message. Bytes.
    pub(super) message_bytes_max: usize,
    /// Whether messages come one after another, for as long as the caller likes.
    pub(super) streams: bool,
    /// Whether the answer goes on for as long as the caller likes, though its message has come.
    pub(super) watches: bool,
    /// Who may call it at all. Of some methods only the message tells.
    pub(super) permission: Option<Permission>,
}

impl Method {
    /// Of this path on this listener. What is not served there needs no permission to be told so.
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
