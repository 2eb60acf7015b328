//! A client of jeton, a token authority: [`TokenSource`] holds a token that stays fresh, [`Guard`] stands before the
//! handlers of a server, and [`Client`] makes all other calls, with typed errors. `clients/README.md` says exactly how they
//! behave.

mod address;
mod attach;
mod calls;
mod cause;
mod client;
mod clock;
mod code;
mod endpoint_url;
mod error;
mod failure;
mod files;
mod guard;
mod health;
mod json;
mod lane;
mod metadata;
mod one_task;
mod pacer;
mod policy;
mod reasons;
mod refused;
mod secret;
mod services;
mod source;
mod stream;
pub mod testing;
mod tls;
mod token;

pub use address::check_address;
pub use attach::{ReplayBody, SeenBody, TokenLayer, WithToken};
pub use client::{Client, ClientBuilder};
pub use code::Code;
pub use error::JetonError;
pub use guard::{
    GrpcGuard, GrpcGuardLayer, Guard, GuardBuilder, GuardMode, GuardedBody, HttpGuard, HttpGuardLayer,
    PeerCertificate, WatchedBody,
};
pub use health::Health;
pub use jeton_proto::v1 as proto;
pub use metadata::Field;
pub use reasons::ErrorKind;
pub use refused::Refused;
pub use secret::Secret;
pub use services::{AdminService, DiscoveryService, TokenService};
pub use source::{Event, EventKind, Events, Token, TokenSource, TokenSourceBuilder};
pub use stream::Answers;
pub use tls::thumbprint;
pub use token::{IssueRequest, IssuedToken, RefreshRequest, ValidateRequest, Verdict};
