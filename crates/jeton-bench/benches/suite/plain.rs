//! The floor of P13: the empty RPC on tonic's own server, as one would write it down.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};

use crate::{
    child::{Child, wait_for_parent},
    cpu::Meter,
    empty::Empty,
    target::Target,
};

pub struct Plain {
    _child: Child,
    pub target: Target,
}

impl Plain {
    pub fn start() -> Self {
        let mut child = Child::start("role:plain", None);
        let address: SocketAddr = child.hear().parse().unwrap();
        let meter = Meter::Process(child.pid());
        let target =
            Target { addresses: vec![address], api_key: "none".into(), admin: None, meter: Some(meter) };
        Self { _child: child, target }
    }
}

pub fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let gone = async { tokio::task::spawn_blocking(wait_for_parent).await.unwrap() };
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Server::builder().add_service(Empty).serve_with_incoming_shutdown(incoming, gone).await.unwrap();
    });
}
