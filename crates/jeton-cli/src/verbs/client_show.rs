//! A client, for people.

use crate::{
    invocation::Cli,
    term::{exit::Failure, output, time},
};
use jeton_proto::v1::{ApiKey, Client};

/// Its state, in one word.
pub fn state(client: &Client) -> &'static str {
    match (client.refused.is_empty(), client.disabled) {
        (false, _) => "refused",
        (true, true) => "disabled",
        (true, false) => "enabled",
    }
}

/// The permissions as they are typed.
pub fn permissions(client: &Client) -> String {
    let names = client.permissions().map(|permission| {
        permission.as_str_name().trim_start_matches("PERMISSION_").to_lowercase().replace('_', "-")
    });
    names.collect::<Vec<_>>().join(" ")
}

/// Prints a client, for people.
pub fn print(cli: &Cli<'_>, client: &Client) -> Result<(), Failure> {
    output::facts(&[
        ("client", client.client_id.clone()),
        ("name", client.display_name.clone()),
        ("state", state(client).to_owned()),
        ("refused", client.refused.clone()),
        ("permissions", permissions(client)),
        ("audiences", client.audiences.join(" ")),
        ("subjects", client.subjects.join(" ")),
        ("own subject", client.own_subject.clone()),
        ("certificates", client.certificate_uris.join(" ")),
        ("created", time::show(client.create_time.as_ref())),
        ("etag", client.etag.clone()),
    ])?;
    if client.api_keys.is_empty() {
        return Ok(());
    }
    let now = (cli.env.now)();
    let end = |key: &ApiKey| {
        let end = key.expire_time.as_ref();
        // An end in the future is shown as a date; one in the past must not be overlooked.
        let past = end.and_then(time::from_wire_timestamp).is_some_and(|end| end <= now);
        if past { time::show_with_distance(end, now) } else { time::show(end) }
    };
    let key_row = |key: &ApiKey| {
        vec![
            key.api_key_id.clone(),
            time::show(key.create_time.as_ref()),
            end(key),
            time::show(key.last_use_time.as_ref()),
        ]
    };
    output::data("")?;
    output::table(
        &["API KEY", "CREATED", "EXPIRES", "LAST USED"],
        client.api_keys.iter().map(key_row).collect(),
    )
}
