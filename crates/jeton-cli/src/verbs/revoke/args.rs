//! The flags of `jeton revoke`.

use std::path::PathBuf;

use clap::{ArgGroup, ValueEnum, builder::NonEmptyStringValueParser as NonEmpty};
use jiff::SignedDuration;
use uuid::Uuid;

use crate::{
    term::{ids, time},
    verbs::{lock::parse_ttl, revoke::progress::Progress},
};
use jeton_proto::v1::{Reach, RevocationReason};
use jeton_token::parse_uuid_v7;

/// Parses the id of a bulk revocation.
pub fn bulk_id(text: &str) -> Result<Uuid, &'static str> {
    parse_uuid_v7(text).ok_or("not the id of a bulk revocation: the interrupted command printed it")
}

/// `--reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reason {
    /// The holder signed off.
    Logout,
    /// The token was seen where it must not be.
    Leaked,
    /// The account, client or key is believed compromised.
    Compromised,
    /// The subject or client was disabled or removed.
    Deprovisioned,
    /// Roles or scopes changed.
    PrivilegeChange,
    /// An operator's decision, explained in the note.
    Administrative,
}

/// `--wait-for`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// Durable, and applied on the answering replica.
    Local,
    /// Applied on every replica.
    Replicas,
    /// Applied by every watcher, too; not served yet.
    Watchers,
}

/// Flags.
#[derive(Debug, Default, clap::Args)]
#[command(group = ArgGroup::new("target").multiple(false))]
pub struct RevokeArgs {
    /// What leaked: tokens, jtis, sessions, API keys, or text that contains them. `-`, or nothing: standard input, or a
    /// prompt. `bulk FILE|-`: the same as `--from`
    #[arg(value_name = "WHAT|-", group = "target")]
    pub what: Vec<String>,
    /// Find what leaked in these files, of any kind, also packed by gzip: a log, JSON, a list. `-` is standard input
    #[arg(long, value_name = "FILE", group = "target", num_args = 1..)]
    pub from: Vec<PathBuf>,
    /// Read the token from this file; a refresh token means its session
    #[arg(long, value_name = "FILE", group = "target")]
    pub token_file: Option<PathBuf>,
    /// One session
    #[arg(long, value_name = "ID", group = "target", value_parser = ids::session)]
    pub session: Option<String>,
    /// Everything of a subject
    #[arg(long, group = "target", value_parser = NonEmpty::new())]
    pub subject: Option<String>,
    /// Everything that a client obtained
    #[arg(long, group = "target", value_parser = NonEmpty::new())]
    pub client: Option<String>,
    /// Every token signed by a key
    #[arg(long, value_name = "KID", group = "target", allow_hyphen_values = true, value_parser = ids::key)]
    pub key: Option<String>,
    /// Everything that was obtained by assertions of a trusted issuer, by its short id
    #[arg(long, value_name = "ISSUER", group = "target", value_parser = NonEmpty::new())]
    pub issuer: Option<String>,
    /// Of a subject, client or issuer: only tokens for this audience. Alone: everything for it, of every subject and client
    #[arg(long, value_parser = NonEmpty::new())]
    pub audience: Option<String>,
    /// Of a subject, client, audience or issuer: only tokens issued before: 2h, or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    pub before: Option<String>,
    /// In the preview, show only sessions that were opened from here on. It never limits what is revoked
    #[arg(long, value_name = "TIME")]
    pub after: Option<String>,
    /// The reason; required for a subject, client, audience, key or issuer
    #[arg(long)]
    pub reason: Option<Reason>,
    /// An incident number or note
    #[arg(long)]
    pub note: Option<String>,
    /// Show what would happen, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Refuse if more live sessions than this would be hit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub max_affected: Option<i64>,
    /// Of a subject or client: lock it as well, for so long; otherwise it can be issued a new token at once
    #[arg(long, value_name = "DURATION", value_parser = parse_ttl)]
    pub lock: Option<SignedDuration>,
    /// How far the revocation must have travelled before the answer [default: replicas]
    #[arg(long, value_name = "REACH")]
    pub wait_for: Option<WaitFor>,
    /// The longest wait for that; if it ends first, the exit code is 7
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    pub wait: Option<SignedDuration>,
    /// Of many: go on with a revocation that was interrupted, from the same input
    #[arg(long, value_name = "ID", value_parser = bulk_id)]
    pub resume: Option<Uuid>,
    /// Of many: how to show how far it is, on standard error. `auto`: a bar on a terminal
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub progress: Progress,
    /// Of many: revoke them even if the servers would hold more than their high-water mark
    #[arg(long)]
    pub force: bool,
}

impl RevokeArgs {
    /// Returns whether no target is named by text or file: then an audience is one itself.
    pub fn names_nothing_else(&self) -> bool {
        self.what.is_empty() && self.from.is_empty() && self.token_file.is_none()
    }
}

/// The reason as the API names it.
pub fn to_wire_reason(reason: Option<Reason>) -> RevocationReason {
    match reason {
        None => RevocationReason::Unspecified,
        Some(Reason::Logout) => RevocationReason::Logout,
        Some(Reason::Leaked) => RevocationReason::Leaked,
        Some(Reason::Compromised) => RevocationReason::Compromised,
        Some(Reason::Deprovisioned) => RevocationReason::Deprovisioned,
        Some(Reason::PrivilegeChange) => RevocationReason::PrivilegeChange,
        Some(Reason::Administrative) => RevocationReason::Administrative,
    }
}

/// The reach as the API names it.
pub fn to_wire_reach(reach: Option<WaitFor>) -> Reach {
    match reach {
        None => Reach::Unspecified,
        Some(WaitFor::Local) => Reach::Local,
        Some(WaitFor::Replicas) => Reach::Replicas,
        Some(WaitFor::Watchers) => Reach::Watchers,
    }
}
