//! One client, read from the server.

use crate::{remote::connect::Connection, term::exit::Failure};
use jeton_proto::v1::{Client, GetClientRequest};

/// Reads one client.
pub async fn fetch(connection: &Connection, client_id: &str) -> Result<Client, Failure> {
    let request = GetClientRequest { client_id: client_id.to_owned() };
    let response = connection.call(request).await?;
    Ok(response.client.unwrap_or_default())
}
