//! `jeton dev --replicas`: several servers on one database.

use std::{fs, process::Stdio};

use jeton::proto::v1::{self as pb, revocation_target::Kind};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use super::dev::{Dev, any, ports, processes, ready};
use crate::world::{Api, Shell, until};

const THREE: [&str; 2] = ["--replicas", "3"];

fn servers(json: &Value) -> &[Value] {
    json["servers"].as_array().unwrap()
}

fn apis(json: &Value) -> Vec<Api> {
    let key = json["clients"]["dev-service"].as_str().unwrap();
    servers(json).iter().map(|server| Api::connect(&ready(server), key)).collect()
}

fn pid_of(server: &Value) -> Pid {
    Pid::from_raw(server["pid"].as_i64().unwrap().try_into().unwrap()).unwrap()
}

fn names(json: &Value) -> Vec<&str> {
    servers(json).iter().map(|server| server["replica"].as_str().unwrap()).collect()
}

/// Each is a server in its own right, under one name.
async fn check_alike(json: &Value) {
    assert_eq!(names(json), ["dev-1", "dev-2", "dev-3"]);
    for name in ["public", "admin", "ops", "replica", "pid"] {
        assert_eq!(json[name], servers(json)[0][name], "the first: {name}");
        let different = servers(json).iter().filter(|server| server[name] == json[name]).count();
        assert_eq!(different, 1, "of its own: {name}");
    }
    let issuer = format!("http://{}", json["public"].as_str().unwrap());
    let mut apis = apis(json);
    for (api, server) in apis.iter_mut().zip(servers(json)) {
        assert_eq!(server["issuer"], issuer.as_str());
        let info = api.discovery.get_server_info(pb::GetServerInfoRequest {}).await.unwrap().into_inner();
        assert_eq!(
            (info.issuer.as_str(), info.replica.as_str()),
            (&*issuer, server["replica"].as_str().unwrap())
        );
        assert_eq!(ready(server).ops("/livez").await.0, 200);
    }
}

#[tokio::test]
async fn a_token_of_one_replica_is_a_token_of_each_and_one_that_dies_is_not_missed() {
    let mut dev = Dev::new();
    let all = dev.start(any(), &THREE).await;
    check_alike(&all).await;
    for server in &servers(&all)[1..] {
        let told = format!(
            "{} beside it: public {}",
            server["replica"].as_str().unwrap(),
            server["public"].as_str().unwrap()
        );
        until(&told, async || dev.talk().contains(&told)).await;
    }
    let mut apis = apis(&all);
    let token = apis[1].token("alice", "orders").await.access_token;
    for api in &mut apis {
        assert_eq!(api.status(&token, "orders").await, pb::TokenStatus::Active);
    }

    // The command line uses the credential at each server that it was given for.
    let shell = Shell::new();
    shell.write(".jeton/dev.json", &all.to_string());
    for server in servers(&all) {
        let arguments =
            ["validate", "--audience", "orders", "--endpoint", server["public"].as_str().unwrap()];
        assert!(shell.pipe(&arguments, &token).await.data().starts_with("ACTIVE"));
    }

    kill_process(pid_of(&servers(&all)[0]), Signal::KILL).unwrap();
    until("it is said", async || dev.talk().contains("2 of 3 servers go on")).await;
    assert!(dev.talk().contains("dev-1 ended (signal: 9"), "{}", dev.talk());
    until("dev.json names those that run", async || {
        dev.read()
            .is_some_and(|json| names(&json) == ["dev-2", "dev-3"] && json["pid"] == servers(&all)[1]["pid"])
    })
    .await;
    apis[1].revoke(Kind::Token(token.clone())).await.unwrap();
    assert_eq!(apis[2].status(&token, "orders").await, pb::TokenStatus::Revoked, "at once");

    // Ctrl-C in a terminal goes to the whole group.
    kill_process_group(dev.pid(), Signal::INT).unwrap();
    assert!(dev.ended().await.success(), "{}", dev.talk());
}

#[tokio::test]
async fn what_a_killed_run_of_several_left_is_ended_and_the_end_of_the_last_is_an_error() {
    let mut dev = Dev::new();
    let first = dev.start(any(), &THREE).await;
    dev.kill();
    let pids: Vec<u32> =
        servers(&first).iter().map(|server| server["pid"].as_u64().unwrap().try_into().unwrap()).collect();
    let is_left = || processes(&dev.data_dir()).iter().any(|pid| pids.contains(pid));
    until("the servers end with their parent", async || !is_left()).await;

    let first_ports = ready(&first);
    let again = dev.start(ports(&first_ports), &["--replicas", "2"]).await;
    assert_eq!(names(&again), ["dev-1", "dev-2"]);

    for server in servers(&again) {
        kill_process(pid_of(server), Signal::KILL).unwrap();
    }
    assert_eq!(dev.ended().await.code(), Some(1), "{}", dev.talk());
    assert!(dev.talk().contains("the last server, ended (signal: 9"), "{}", dev.talk());
}

#[tokio::test]
async fn replicas_are_one_to_twenty() {
    let dev = Dev::new();
    for number in ["0", "21", "256", "many"] {
        let child = dev.command(any(), &["--replicas", number]).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{number}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("--replicas"), "{number}");
        assert!(fs::read_dir(dev.data_dir()).is_err(), "nothing is made: {number}");
    }
}
