//! Clients and API keys: wire ↔ domain.

use crate::{
    authority::{ClientField, ClientUpdate, Invalid},
    proto::v1 as pb,
    rpc::convert::{etag_of, seconds, timestamp, whole_seconds},
    state::{Client, Permission},
    store::{ApiKeyRow, ClientRow},
};
use jeton_token::Revision;

pub(in crate::rpc) fn new_client(request: pb::CreateClientRequest) -> Result<ClientRow, Invalid> {
    client_of(request.client.ok_or_else(|| Invalid::required("client"))?)
}

pub(in crate::rpc) fn client_update(request: pb::UpdateClientRequest) -> Result<ClientUpdate, Invalid> {
    let given = request.client.ok_or_else(|| Invalid::required("client"))?;
    let etag = etag_of("client.etag", &given.etag)?;
    let fields = match request.update_mask {
        Some(mask) if !mask.paths.is_empty() => fields_of(&mask.paths)?,
        _ => populated(&given),
    };
    Ok(ClientUpdate { client: client_of(given)?, fields, etag })
}

/// The lifetime that was requested.
pub(in crate::rpc) fn ttl_s(ttl: Option<prost_types::Duration>) -> Result<Option<i64>, Invalid> {
    match ttl {
        Some(ttl) if ttl.seconds < 1 => {
            let millis = i64::from(ttl.nanos).div_euclid(1_000_000);
            Err(Invalid::TtlTooShort {
                requested_ms: ttl.seconds.saturating_mul(1000).saturating_add(millis),
            })
        }
        Some(ttl) => whole_seconds("ttl", ttl).map(Some),
        None => Ok(None),
    }
}

fn fields_of(paths: &[String]) -> Result<Vec<ClientField>, Invalid> {
    if paths.iter().any(|path| path == "*") {
        return Ok(ClientField::ALL.map(|(field, _)| field).to_vec());
    }
    let field_of = |path: &String| {
        let known = ClientField::ALL.iter().find(|(_, name)| name == path).map(|(field, _)| *field);
        known.ok_or_else(|| {
            Invalid::field("update_mask", "names of fields of Client that can be written, or *")
        })
    };
    paths.iter().map(field_of).collect()
}

fn populated(given: &pb::Client) -> Vec<ClientField> {
    let set = |field: ClientField| match field {
        ClientField::DisplayName => !given.display_name.is_empty(),
        ClientField::CertificateUris => !given.certificate_uris.is_empty(),
        ClientField::Permissions => !given.permissions.is_empty(),
        ClientField::Audiences => !given.audiences.is_empty(),
        ClientField::Subjects => !given.subjects.is_empty(),
        ClientField::OwnSubject => !given.own_subject.is_empty(),
        ClientField::Disabled => given.disabled,
    };
    ClientField::ALL.map(|(field, _)| field).into_iter().filter(|field| set(*field)).collect()
}

/// The fields that can be written. Output-only fields are ignored: so a client that was read can be sent back.
fn client_of(given: pb::Client) -> Result<ClientRow, Invalid> {
    let permission = |number: &i32| {
        let known = i16::try_from(*number).ok().and_then(Permission::from_number);
        known.ok_or_else(|| {
            Invalid::field("client.permissions", "values of Permission, none of them unspecified")
        })
    };
    Ok(ClientRow {
        client: Client {
            permissions: given.permissions.iter().map(permission).collect::<Result<_, _>>()?,
            client_id: given.client_id,
            revision: Revision::ZERO,
            certificate_uris: given.certificate_uris,
            audiences: given.audiences,
            subjects: given.subjects,
            own_subject: given.own_subject,
            disabled: given.disabled,
        },
        display_name: given.display_name,
        create_time: jiff::Timestamp::UNIX_EPOCH,
        api_keys: Vec::new(),
        stray_certificate_uris: Vec::new(),
        version: 0,
        refused: None,
    })
}

pub(in crate::rpc) fn client(row: ClientRow) -> pb::Client {
    let ClientRow {
        client,
        display_name,
        create_time,
        api_keys,
        stray_certificate_uris,
        refused,
        version: _,
    } = row;
    pb::Client {
        etag: client.revision.to_string(),
        permissions: client.permissions.iter().map(|permission| permission.number().into()).collect(),
        client_id: client.client_id,
        display_name,
        certificate_uris: client.certificate_uris,
        audiences: client.audiences,
        subjects: client.subjects,
        own_subject: client.own_subject,
        api_keys: api_keys.into_iter().map(api_key).collect(),
        stray_certificate_uris,
        disabled: client.disabled,
        create_time: Some(timestamp(create_time)),
        refused: refused.map_or_else(String::new, |why| why.to_string()),
    }
}

pub(in crate::rpc) fn api_key(row: ApiKeyRow) -> pb::ApiKey {
    pb::ApiKey {
        api_key_id: row.api_key_id,
        create_time: Some(timestamp(row.create_time)),
        expire_time: row.expire_time.map(seconds),
        last_use_time: row.last_use_time.map(seconds),
        refused: row.refused.map_or_else(String::new, |why| why.to_string()),
    }
}
