//! One client, read from the server.

use crate::{remote::connect::Connection, term::exit::Failure};
use jeton_proto::v1::{Client, GetClientRequest, admin_service_client::AdminServiceClient};

/// Reads one client.
pub async fn fetch(connection: &Connection, client_id: &str) -> Result<Client, Failure> {
    let mut client = AdminServiceClient::new(connection.channel());
    let request = GetClientRequest { client_id: client_id.to_owned() };
    let response = connection.call(client.get_client(connection.request(request))).await?;
    Ok(response.client.unwrap_or_default())
}
