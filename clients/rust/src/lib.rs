//! A client of jeton: the generated stubs ([`proto`]), the credential of a call, and the connection to a server.

mod address;
mod connection;
mod credential;

pub use address::check_address;
pub use connection::{ConnectError, Identity, Trust, endpoint, root_cause};
pub use credential::{Bearer, NotAHeader};
pub use jeton_proto::v1 as proto;
