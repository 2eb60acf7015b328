//! The clients that policies name. A policy may be written before its client is registered, so one that is not on record
//! is no error; but it may also be a typing error, which nothing else would show.

use std::collections::BTreeSet;

use jeton_client::Code;

use crate::{
    remote::connect::Connection,
    term::{escape::escape, exit::Failure, output},
};
use jeton_proto::v1::GetClientRequest;

/// Warns of each of these clients that is not on record. `*` stands for any.
pub async fn warn_of_unknown<'a>(connection: &Connection, client_ids: impl Iterator<Item = &'a str>) {
    let client_ids: BTreeSet<_> = client_ids.filter(|it| *it != "*").collect();
    for client_id in client_ids {
        let request = GetClientRequest { client_id: client_id.to_owned() };
        let got = connection.call(request).await;
        if matches!(&got, Err(Failure::Refused(refusal)) if refusal.code == Code::NotFound) {
            output::talk(&format!(
                "warning: no client {} is on record: its policy is for the day when it is registered.",
                escape(client_id)
            ));
        }
    }
}
