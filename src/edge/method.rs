//! The table of methods: everything about a method that is known before its message is read.

use crate::state::Permission;

/// The methods that are measured by name: full gRPC paths without the leading slash.
pub const METHODS: [&str; 39] = [
    "jeton.v1.TokenService/Issue",
    "jeton.v1.TokenService/Refresh",
    "jeton.v1.TokenService/Validate",
    "jeton.v1.TokenService/BatchValidate",
    "jeton.v1.TokenService/StreamValidate",
    "jeton.v1.TokenService/Revoke",
    "jeton.v1.TokenService/GetCaller",
    "jeton.v1.DiscoveryService/GetJwks",
    "jeton.v1.DiscoveryService/GetServerInfo",
    "jeton.v1.AdminService/BulkRevoke",
    "jeton.v1.AdminService/Lock",
    "jeton.v1.AdminService/Unlock",
    "jeton.v1.AdminService/ListLocks",
    "jeton.v1.AdminService/Explain",
    "jeton.v1.AdminService/ListReplicas",
    "jeton.v1.AdminService/ListRevocations",
    "jeton.v1.AdminService/ListSessions",
    "jeton.v1.AdminService/ListAuditEvents",
    "jeton.v1.AdminService/GetPolicy",
    "jeton.v1.AdminService/ListPolicies",
    "jeton.v1.AdminService/UpdatePolicy",
    "jeton.v1.AdminService/DeletePolicy",
    "jeton.v1.AdminService/ListKeys",
    "jeton.v1.AdminService/RotateKey",
    "jeton.v1.AdminService/CreateClient",
    "jeton.v1.AdminService/GetClient",
    "jeton.v1.AdminService/ListClients",
    "jeton.v1.AdminService/UpdateClient",
    "jeton.v1.AdminService/DeleteClient",
    "jeton.v1.AdminService/CreateApiKey",
    "jeton.v1.AdminService/DeleteApiKey",
    "jeton.v1.AdminService/CreateIssuer",
    "jeton.v1.AdminService/GetIssuer",
    "jeton.v1.AdminService/ListIssuers",
    "jeton.v1.AdminService/UpdateIssuer",
    "jeton.v1.AdminService/DeleteIssuer",
    "jeton.v1.AdminService/TestAssertion",
    "envoy.service.auth.v3.Authorization/Check",
    "grpc.health.v1.Health/Check",
];

/// The name of the service of tokens.
pub const TOKENS: &str = "jeton.v1.TokenService";
/// The name of the service of public facts.
pub const DISCOVERY: &str = "jeton.v1.DiscoveryService";
/// The name of the service of administration.
pub const ADMIN: &str = "jeton.v1.AdminService";
/// The name of the service that Envoy calls.
pub const ENVOY: &str = "envoy.service.auth.v3.Authorization";
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: [&str; 2] =
    ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// A service, and the listeners that serve it.
pub struct Service {
    /// Its full name.
    pub name: &'static str,
    /// The listeners.
    pub listeners: &'static [Listener],
}

/// All services. Others are served nowhere.
pub static SERVICES: [Service; 7] = [
    Service { name: TOKENS, listeners: &[Listener::Public, Listener::Admin] },
    Service { name: DISCOVERY, listeners: &[Listener::Public] },
    Service { name: ENVOY, listeners: &[Listener::Public] },
    Service { name: ADMIN, listeners: &[Listener::Admin] },
    Service { name: REFLECTION[0], listeners: &[Listener::Admin] },
    Service { name: REFLECTION[1], listeners: &[Listener::Admin] },
    Service { name: HEALTH, listeners: &[Listener::Public, Listener::Admin, Listener::Ops] },
];

/// The greatest length of a message, bytes. A token is judged up to 8 KiB, and the rest of a request is short.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// The same for Issue, whose claims may be long before they are refused; for `AdminService`'s writes, for their lists;
/// and for Envoy's Check, which repeats a request's headers: Envoy itself accepts 60 KiB of those.
pub const LONG_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The same for a batch: a thousand tokens of the greatest length, and room for the rest of the requests.
pub const BATCH_BYTES_MAX: usize = 9 * 1024 * 1024;

/// The same for a chunk of `BulkRevoke`: ten thousand targets by their ids take less than half.
pub const BULK_BYTES_MAX: usize = 1024 * 1024;

/// The listener that a call came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listener {
    /// Serves every service but `AdminService`.
    Public,
    /// For people and break-glass identities: wide targets are allowed.
    Admin,
    /// For probes: nothing but health.
    Ops,
}

impl Listener {
    /// The name in flags, logs and refusals.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Admin => "admin",
            Self::Ops => "ops",
        }
    }
}

/// The operations that edges tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Validate, unary.
    Validate,
    /// `StreamValidate`.
    StreamValidate,
    /// `BatchValidate`.
    BatchValidate,
    /// Issue.
    Issue,
    /// Refresh.
    Refresh,
    /// Reflection, in either version.
    Reflection,
    /// All others, and those that do not exist.
    Other,
}

/// The facts about a method, as far as its path tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Method {
    /// The operation.
    pub operation: Operation,
    /// The greatest length of a message. Bytes.
    pub message_bytes_max: usize,
    /// Messages come one after another, for as long as the caller likes.
    pub streams: bool,
    /// The answer goes on for as long as the caller likes, after its one message.
    pub watches: bool,
    /// Needs no credential: public facts and probes.
    pub open: bool,
    /// The permission that a caller needs; `None` if it depends on the message.
    pub permission: Option<Permission>,
}

const PLAIN: Method = Method {
    operation: Operation::Other,
    message_bytes_max: MESSAGE_BYTES_MAX,
    streams: false,
    watches: false,
    open: false,
    permission: None,
};
const LONG: Method = Method { message_bytes_max: LONG_MESSAGE_BYTES_MAX, ..PLAIN };
const OPEN: Method = Method { open: true, ..PLAIN };

/// Introspection over HTTP (RFC 7662).
pub const INTROSPECTION: Method = Method { permission: Some(Permission::Validate), ..PLAIN };
/// Revocation over HTTP (RFC 7009).
pub const REVOCATION: Method = PLAIN;
/// The token endpoint (RFC 6749 section 3.2).
pub const TOKEN: Method = Method { permission: Some(Permission::Issue), ..PLAIN };

impl Method {
    /// The method of this path on this listener. A path that is not served needs no permission to be refused.
    #[must_use]
    pub fn of(path: &str, listener: Listener) -> Self {
        let Some((service, name)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return PLAIN;
        };
        match service {
            TOKENS => Self::of_tokens(name),
            ADMIN if listener == Listener::Admin && METHODS.contains(&path.trim_start_matches('/')) => {
                if name == "BulkRevoke" {
                    let permission = Some(Permission::RevokeAny);
                    return Self { message_bytes_max: BULK_BYTES_MAX, streams: true, permission, ..PLAIN };
                }
                if ["Explain", "ListLocks"].contains(&name) {
                    // One of two permissions: the operation tells.
                    return PLAIN;
                }
                if ["Lock", "Unlock"].contains(&name) {
                    return Self { permission: Some(Permission::RevokeWide), ..PLAIN };
                }
                if name == "TestAssertion" {
                    return Self { permission: Some(Permission::AdminRead), ..LONG };
                }
                let reads = ["Get", "List"].iter().any(|verb| name.starts_with(verb));
                if reads {
                    Self { permission: Some(Permission::AdminRead), ..PLAIN }
                } else {
                    Self { permission: Some(Permission::AdminWrite), ..LONG }
                }
            }
            ENVOY if listener == Listener::Public => Self { permission: Some(Permission::Validate), ..LONG },
            DISCOVERY => OPEN,
            HEALTH => Self { watches: name == "Watch", ..OPEN },
            _ if REFLECTION.contains(&service) => {
                Self { operation: Operation::Reflection, streams: true, ..OPEN }
            }
            _ => PLAIN,
        }
    }

    fn of_tokens(name: &str) -> Self {
        let (validate, issue) = (Some(Permission::Validate), Some(Permission::Issue));
        match name {
            "Validate" => Self { operation: Operation::Validate, permission: validate, ..PLAIN },
            "StreamValidate" => {
                Self { operation: Operation::StreamValidate, streams: true, permission: validate, ..PLAIN }
            }
            "BatchValidate" => Self {
                operation: Operation::BatchValidate,
                message_bytes_max: BATCH_BYTES_MAX,
                permission: validate,
                ..PLAIN
            },
            "Issue" => Self { operation: Operation::Issue, permission: issue, ..LONG },
            "Refresh" => Self { operation: Operation::Refresh, permission: issue, ..PLAIN },
            _ => PLAIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c4_only_public_facts_and_probes_are_open() {
        for method in METHODS {
            let (service, _) = method.split_once('/').unwrap_or_default();
            let known = SERVICES.iter().find(|known| known.name == service);
            let listener = known.and_then(|known| known.listeners.first());
            assert!(listener.is_some(), "{method} is served by no listener");
            let Some(listener) = listener else { continue };
            let facts = Method::of(&format!("/{method}"), *listener);
            let is_public = [DISCOVERY, HEALTH].contains(&service);
            assert_eq!(facts.open, is_public, "{method}");
            let depends = is_public
                || method.ends_with("/Revoke")
                || ["/GetCaller", "/Explain", "/ListLocks"].iter().any(|it| method.ends_with(it));
            assert_eq!(facts.permission.is_none(), depends, "{method}");
        }
        for path in ["", "/", "jeton.v1.DiscoveryService/GetJwks", "/grpc.reflection.v1.Other/x", "/x/y"] {
            assert!(!Method::of(path, Listener::Public).open, "{path}");
        }
    }
}
