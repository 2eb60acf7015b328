//! Calls of one method: where it is, and the messages that are sent in turn, encoded into a file.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use jeton::proto::v1 as pb;
use prost::Message;

use crate::empty::Blob;

pub const AUDIENCE: &str = "api";

#[derive(Clone)]
pub struct Calls {
    pub path: &'static str,
    pub file: PathBuf,
}

impl Calls {
    pub fn validate(directory: &Path, tokens: &[String]) -> Self {
        Self::write(directory, "/jeton.v1.TokenService/Validate", tokens.iter().map(|it| validate(it)))
    }

    /// Batches of so many.
    pub fn batch(directory: &Path, tokens: &[String], size: usize) -> Self {
        let batch = |tokens: &[String]| {
            let requests = tokens.iter().map(|token| validate(token)).collect();
            pb::BatchValidateRequest { requests }
        };
        Self::write(directory, "/jeton.v1.TokenService/BatchValidate", tokens.chunks_exact(size).map(batch))
    }

    pub fn stream(directory: &Path, tokens: &[String]) -> Self {
        let message = |token: &String| pb::StreamValidateRequest { request: Some(validate(token)) };
        Self::write(directory, "/jeton.v1.TokenService/StreamValidate", tokens.iter().map(message))
    }

    pub fn issue(directory: &Path, count: usize, refreshable: bool) -> Self {
        let request = pb::IssueRequest {
            subject: "svc:bench".into(),
            audiences: vec![AUDIENCE.into()],
            scopes: vec!["read".into(), "write".into()],
            refreshable,
            ..Default::default()
        };
        Self::write(directory, "/jeton.v1.TokenService/Issue", std::iter::repeat_n(request, count))
    }

    pub fn refresh(directory: &Path, refresh_tokens: Vec<String>) -> Self {
        let message = |refresh_token| pb::RefreshRequest { refresh_token, ..Default::default() };
        Self::write(directory, "/jeton.v1.TokenService/Refresh", refresh_tokens.into_iter().map(message))
    }

    pub fn revoke(directory: &Path, jtis: impl Iterator<Item = String>) -> Self {
        let message = |jti| {
            let kind = Some(pb::revocation_target::Kind::Jti(jti));
            let target = Some(pb::RevocationTarget { kind, ..Default::default() });
            pb::RevokeRequest { target, ..Default::default() }
        };
        Self::write(directory, "/jeton.v1.TokenService/Revoke", jtis.map(message))
    }

    /// Texts that look like tokens and are none.
    pub fn garbage(directory: &Path, count: usize) -> Self {
        let header = "eyJhbGciOiJFUzI1NiIsImtpZCI6IkFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBIiwidHlwIjoiYXQrand0In0";
        let token = |index| format!("{header}.{index:0>400}.{index:A>86}");
        Self::write(directory, "/jeton.v1.TokenService/Validate", (0..count).map(|it| validate(&token(it))))
    }

    /// A new key that signs at once.
    pub fn rotate_key(directory: &Path) -> Self {
        let emergency =
            pb::RotateKeyRequest { algorithm: "ES256".into(), emergency: true, ..Default::default() };
        Self::write(directory, "/jeton.v1.AdminService/RotateKey", std::iter::once(emergency))
    }

    /// A policy of an audience that is not asked for, with another limit each time.
    pub fn update_policy(directory: &Path) -> Self {
        let message = |seconds| {
            let max_ttl = Some(prost_types::Duration { seconds, nanos: 0 });
            let policy =
                pb::Policy { audience: "other".into(), client_id: "*".into(), max_ttl, ..Default::default() };
            let update_mask = Some(prost_types::FieldMask { paths: vec!["max_ttl".into()] });
            let policy = Some(policy);
            pb::UpdatePolicyRequest { policy, update_mask, allow_missing: true, ..Default::default() }
        };
        Self::write(directory, "/jeton.v1.AdminService/UpdatePolicy", (600..1_600).map(message))
    }

    /// Calls of the empty RPC whose messages, request and answer, have so many bytes with their prefix.
    pub fn empty(directory: &Path, bytes: [usize; 2]) -> Self {
        // Tags, lengths and the prefix.
        let [request, answer] = bytes;
        let blob = Blob {
            bytes: vec![7; request.saturating_sub(11)],
            answer_bytes: u32::try_from(answer.saturating_sub(8)).unwrap(),
        };
        Self::write(directory, "/bench.Empty/Call", std::iter::once(blob))
    }

    fn write(directory: &Path, path: &'static str, messages: impl Iterator<Item = impl Message>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let file = directory.join(format!("calls-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let mut out = BufWriter::new(File::create(&file).unwrap());
        for message in messages {
            let bytes = message.encode_to_vec();
            out.write_all(&[0]).unwrap();
            out.write_all(&u32::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
            out.write_all(&bytes).unwrap();
        }
        out.flush().unwrap();
        Self { path, file }
    }
}

/// Messages of a file that a load process kept.
pub fn answers<M: Message + Default>(file: &Path) -> Vec<M> {
    let bytes = std::fs::read(file).unwrap();
    let mut messages = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((prefix, after)) = rest.split_at_checked(5) {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        let (message, after) = after.split_at(length);
        messages.push(M::decode(message).unwrap());
        rest = after;
    }
    messages
}

fn validate(token: &str) -> pb::ValidateRequest {
    pb::ValidateRequest { token: token.into(), audiences: vec![AUDIENCE.into()], ..Default::default() }
}
