//! E10: the database's URL, as a person gets it wrong.

use super::refused;
use crate::world::{Database, Server, ServerOptions, Shell};

#[tokio::test]
async fn e10_what_is_wrong_with_a_url_is_said_without_any_value_of_it() {
    for (url, about) in [
        ("postgres://u:hunter2@h/d?sslpassword=hunter2", "sslpassword"),
        ("postgres://u:12?hunter2@h/x", "percent-encoded"),
        ("postgres://u:hunter2@h/d?ssl_mode=verify-full", "it is called sslmode"),
        ("postgres://u:hunter2@h/d?connect_timeout=hunter2", "connect_timeout"),
        ("postgres://u:hunter2@a,b/d", "it names one host"),
        ("postgres://u:hunter2@h:hunter2/d", "a port is a number"),
        ("hunter2", "postgres://"),
    ] {
        let options = ServerOptions { log: Some("trace".to_owned()), ..ServerOptions::default() };
        let said = refused(url, &options).await;
        assert!(said.contains(about), "{url}: {said}");
        let verbs = [["migrate", "up"], ["migrate", "status"]];
        for verb in verbs {
            let migrated = Shell::new().run(&[&verb[..], &["--database-url", url]].concat()).await;
            let said = [said.clone(), migrated.with_code(1).to_owned()].concat();
            assert!(said.contains(about) && !said.contains("hunter2"), "{url}: {said}");
        }
    }
}

#[tokio::test]
async fn e10_who_does_not_say_so_does_not_send_a_password_over_an_unproven_connection() {
    // A process that accepts connections, and offers no TLS, at an address that is local but not known to be.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel();
    // It may be asked more than once.
    let taking = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut request = [0; 8];
            if stream.read_exact(&mut request).await.is_ok() {
                let _gone = stream.write_all(b"N").await;
                let mut rest = Vec::new();
                let _gone = stream.read_to_end(&mut rest).await;
                tell.send((request, rest)).unwrap();
            }
        }
    });
    let address = "0.0.0.0";
    let url = format!("postgres://u:hunter2@{address}:{port}/d");
    let said = refused(&url, &ServerOptions::default()).await;
    assert!(said.contains("it offers no TLS") && said.contains("sslmode=disable"), "{said}");
    assert!(said.contains(&format!("d at {address}:{port}")) && !said.contains("hunter2"), "{said}");
    // The server has ended: its connections end, too, however late the task here is told.
    let mut next = heard.recv().await;
    assert!(next.is_some(), "it asked");
    while let Some(heard_now) = next {
        let request = [0, 0, 0, 8, 4, 210, 22, 47];
        assert_eq!(heard_now, (request, Vec::new()), "it asked for TLS, and sent nothing else");
        next = heard.try_recv().ok();
    }
    taking.abort();
}

#[tokio::test]
async fn e10_an_ipv6_address_is_understood() {
    let database = Database::create().await;
    let link = crate::world::Link::start_on("[::1]:0", &database.url).await;
    assert!(link.url.contains("@[::1]:"), "{}", link.url);
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&link.url, directory.path(), &ServerOptions::default()).await;
    assert_eq!(server.ops("/readyz").await.0, 200);
}
