//! The command line, end to end: servers that do not answer.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use jeton::proto::v1 as pb;

use crate::world::{Shell, World, api_key, until};

const ISSUE: [&str; 5] = ["issue", "--subject", "user:7", "--audience", "api"];

/// A port on which nobody listens.
async fn closed() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn e24_the_first_server_that_answers_is_used() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "service");
    let (good, closed) = (world.server.ready.public.clone(), closed().await);
    // One that takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_at = silent.local_addr().unwrap().to_string();
    for (first, why) in [(&closed, "refused"), (&silent_at, "does not answer")] {
        shell.arguments[1] = format!("{first},{good}");
        let said = shell.run(&ISSUE).await;
        assert!(said.data().starts_with("eyJ"), "{said:?}");
        assert!(said.err.contains(why) && said.err.contains(&format!("using http://{good}.")), "{said:?}");
    }
    shell.arguments[1] = format!("{good},{closed}");
    let said = shell.run(&ISSUE).await;
    assert!(said.data().starts_with("eyJ") && said.err.is_empty(), "{said:?}");
    shell.arguments[1] = format!("{closed},127.0.0.1:1");
    let none = shell.run(&ISSUE).await;
    assert!(none.with_code(5).contains("none of the 2 endpoints answers"), "{none:?}");
    // In a context, too.
    let flags = [&shell.arguments[..]].concat();
    shell.arguments.clear();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let several = format!("{closed},{good}");
    let add = ["context", "add", "prod", "--endpoint", &several, "--api-key-file", flags[5]];
    shell.run(&add).await.with_code(0);
    let said = shell.run(&[&ISSUE[..], &["--context", "prod"]].concat()).await;
    assert!(said.data().starts_with("eyJ"), "{said:?}");
}

/// Starts `jeton` with a token on its standard input, and reads what it says up to this text.
async fn until_said(
    shell: &Shell,
    arguments: &[&str],
    input: &str,
    text: &str,
) -> (tokio::process::Child, BufReader<tokio::process::ChildStderr>, String) {
    let mut command = shell.command(arguments);
    command.stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(text) {
        assert!(talk.read_line(&mut said).await.unwrap() > 0, "it ended: {said}");
    }
    (child, talk, said)
}

#[tokio::test]
async fn e24_a_revocation_is_tried_until_a_server_answers() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "service");
    let token = shell.run(&ISSUE).await.data().to_owned();
    let (good, place) = (shell.arguments[1].clone(), closed().await);
    shell.arguments[1].clone_from(&place);
    let (mut child, mut talk, said) =
        until_said(&shell, &["revoke", "-", "--retry", "10m"], &token, "Trying again until").await;
    assert!(said.starts_with("Cannot reach "), "{said}");
    let listener = TcpListener::bind(&place).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let good = good.clone();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(good).await.unwrap();
                let _ended = copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    let mut rest = String::new();
    talk.read_to_string(&mut rest).await.unwrap();
    assert!(child.wait().await.unwrap().success() && out.starts_with("revoked token "), "{out} {rest}");
    // Without a server for as long as that: as before.
    shell.arguments[1] = closed().await;
    let late = shell.pipe(&["revoke", "-", "--retry", "1s"], &token).await;
    assert!(late.with_code(5).contains("Trying again until") && late.err.contains("error: "), "{late:?}");
}

#[tokio::test]
async fn e24_a_revocation_whose_server_goes_is_tried_at_another() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "service");
    let token = shell.run(&ISSUE).await.data().to_owned();
    let good = shell.arguments[1].clone();
    // One server that goes while it reads a revocation: more than it takes to ask for its health.
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    shell.arguments[1] = format!("{},{good}", first.local_addr().unwrap());
    let going = async move {
        let (from, _) = first.accept().await.unwrap();
        let to = TcpStream::connect(&good).await.unwrap();
        let ((mut from, mut answers), (mut replies, mut to)) = (from.into_split(), to.into_split());
        let replying = tokio::spawn(async move { tokio::io::copy(&mut replies, &mut answers).await });
        let (mut chunk, mut sent) = ([0; 128], 0);
        while sent < 700 {
            let count = from.read(&mut chunk).await.unwrap();
            assert!(count > 0, "the revocation comes");
            to.write_all(&chunk[..count]).await.unwrap();
            sent += count;
        }
        replying.abort();
    };
    let revoke = shell.pipe(&["revoke", "-", "--retry", "10m"], &token);
    let (said, ()) = tokio::join!(revoke, going);
    assert!(said.data().starts_with("revoked token "), "{said:?}");
    assert!(
        said.err.contains("The server does not answer.") && said.err.contains("using http://"),
        "{said:?}"
    );
}

#[tokio::test]
async fn e24_a_revocation_whose_server_of_dev_goes_is_tried_where_dev_runs_now() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "admin");
    let good = &world.server.ready.public;
    let token = Shell::of(&world, "service").run(&ISSUE).await.data().to_owned();
    let home = shell.directory.path().join(".jeton");
    std::fs::create_dir(&home).unwrap();
    let write = |public: &str| {
        let clients = serde_json::json!({ "dev-admin": api_key("admin") });
        let text = serde_json::json!({ "public": public, "admin": public, "clients": clients }).to_string();
        // Whole, as `jeton dev` writes it.
        std::fs::write(home.join("new"), text).unwrap();
        std::fs::rename(home.join("new"), home.join("dev.json")).unwrap();
    };
    shell.arguments.clear();
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    write(&first.local_addr().unwrap().to_string());
    let going = async {
        let (mut from, _) = first.accept().await.unwrap();
        // It has taken the call, or a part of it.
        assert!(from.read(&mut [0; 128]).await.unwrap() > 0);
        drop((from, first));
        write(good);
    };
    let revoke = shell.pipe(&["revoke", "-", "--retry", "10m"], &token);
    let (said, ()) = tokio::join!(revoke, going);
    assert!(said.data().starts_with("revoked token "), "{said:?}");
}

#[tokio::test]
async fn e24_an_answer_that_is_lost_is_said_to_be_and_the_same_command_tells() {
    let world = World::start().await;
    let shell = Shell::of(&world, "service");
    let mut api = world.api("service").await;
    let token = api.token("user:7", "api").await;
    let good = shell.arguments[1].clone();
    // A server whose answer is lost: it goes when the revocation is in force.
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut away = Shell::of(&world, "service");
    away.arguments[1] = first.local_addr().unwrap().to_string();
    let going = async {
        let (from, _) = first.accept().await.unwrap();
        let to = TcpStream::connect(&good).await.unwrap();
        let ((mut from, mut answers), (mut replies, mut to)) = (from.into_split(), to.into_split());
        let (stop, stopped) = oneshot::channel::<()>();
        // Once stopped it holds the connection: an end of the answers would end the call before all of it is sent.
        let replying = tokio::spawn(async move {
            tokio::select! {
                _ = tokio::io::copy(&mut replies, &mut answers) => {}
                _ = stopped => {}
            }
            (replies, answers)
        });
        let mut sent = 0;
        let last = loop {
            let mut piece = Vec::new();
            assert!(from.read_buf(&mut piece).await.unwrap() > 0, "the revocation comes");
            sent += piece.len();
            if sent >= 700 {
                break piece;
            }
            to.write_all(&piece).await.unwrap();
        };
        stop.send(()).unwrap();
        let _held = replying.await.unwrap();
        to.write_all(&last).await.unwrap();
        let sending = tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
        until("it is revoked", async || {
            api.status(&token.access_token, "api").await == pb::TokenStatus::Revoked
        })
        .await;
        sending.abort();
    };
    let revoke = away.pipe(&["revoke", "-"], &token.access_token);
    let (said, ()) = tokio::join!(revoke, going);
    let told = said.with_code(5);
    assert!(told.starts_with("error: the connection failed: "), "{said:?}");
    let advice =
        "Whether the revocation is in force is not known: run the same command again, which is safe.";
    assert!(told.contains(advice) && said.out.is_empty(), "{said:?}");
    let again = shell.pipe(&["revoke", "-"], &token.access_token).await;
    assert!(again.data().starts_with("already revoked token "), "{again:?}");

    // One that says nothing for too long, and other calls that change something.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut late = Shell::of(&world, "service");
    late.arguments[1] = closed().await;
    let never_sent = late.pipe(&["revoke", "-"], &token.access_token).await;
    assert!(!never_sent.with_code(5).contains("is not known"), "it was not sent: {never_sent:?}");
    late.arguments[1] = silent.local_addr().unwrap().to_string();
    let unsaid = late.pipe(&["revoke", "-", "--timeout", "200ms"], &token.access_token).await;
    assert!(unsaid.with_code(5).starts_with("error: "), "{unsaid:?}");
}

#[tokio::test]
async fn e24_a_revocation_is_tried_until_the_database_is_back() {
    let (world, link) = World::behind_link().await;
    let shell = Shell::of(&world, "service");
    let token = shell.run(&ISSUE).await.data().to_owned();
    link.cut("jeton flusher");
    let arguments = ["revoke", "-", "--retry", "10m", "--timeout", "2s"];
    let (mut child, mut talk, said) = until_said(&shell, &arguments, &token, "Trying again until").await;
    assert!(said.contains("takes effect when"), "{said}");
    link.resume("jeton flusher");
    let (mut out, mut rest) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    talk.read_to_string(&mut rest).await.unwrap();
    assert!(child.wait().await.unwrap().success(), "{out} {rest}");
    assert!(out.contains("revoked token "), "{out} {rest}");
}
