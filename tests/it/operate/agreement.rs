//! E14: what must be the same on all replicas.

use super::start::sentence;
use crate::world::{Database, Server, ServerOptions, Shell, World, master_key_text, until, write_private};

#[tokio::test]
async fn e14_a_server_with_another_issuer_does_not_start_beside_those_that_run() {
    let world = World::start().await;
    let directory = tempfile::tempdir().unwrap();
    let other = |issuer: &str| ServerOptions { issuer: Some(issuer.to_owned()), ..ServerOptions::default() };
    let started =
        Server::try_start(&world.database.url, directory.path(), &other("http://jeton.test/eu")).await;
    let (status, said) = started.err().expect("it serves");
    let said = sentence(status.code(), &said);
    let issuers = [world.server.ready.issuer.as_str(), "http://jeton.test/eu"];
    assert!(issuers.iter().all(|issuer| said.contains(issuer)), "{said}");
    assert!(said.contains(&world.server.ready.replica), "{said}");
    let slash = Server::try_start(&world.database.url, directory.path(), &other("http://jeton.test/")).await;
    assert!(slash.err().expect("it serves").1.contains("slash"));
    // A difference that is allowed during an update is a warning.
    let arguments = ["--rotate-keys-every", "7d"].map(str::to_owned).to_vec();
    let options = ServerOptions { arguments, ..ServerOptions::default() };
    let second = Server::start(&world.database.url, directory.path(), &options).await;
    assert!(second.logged().contains("rotates keys at other times"), "{}", second.logged());
    let shell = Shell::of(&world, "admin");
    until("doctor repeats it", async || {
        shell.run(&["doctor"]).await.out.contains("periods of rotation differ")
    })
    .await;
    // If a fleet has lost replicas, doctor says how many there were.
    world.sql("insert into fleet_size values (floor(extract(epoch from now()))::bigint / 600 - 3, 3)").await;
    let doctor = shell.run(&["doctor"]).await;
    assert!(doctor.out.contains("2 of 3: so many there were within the last day"), "{doctor:?}");
}

/// Two servers, at the same moment, on one database.
async fn two_at_once(database: &Database, options: [&ServerOptions; 2]) -> Vec<Result<Server, String>> {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let start = |place: usize| {
        let directory = directories[place].path().to_owned();
        async move {
            let started = Server::try_start(&database.url, &directory, options[place]).await;
            started.map_err(|(status, said)| sentence(status.code(), &said))
        }
    };
    let (first, second) = tokio::join!(start(0), start(1));
    vec![first, second]
}

#[tokio::test]
async fn e14_of_two_servers_with_two_issuers_that_start_at_the_same_moment_one_serves() {
    let database = Database::create().await;
    let other = |issuer: &str| ServerOptions { issuer: Some(issuer.to_owned()), ..ServerOptions::default() };
    for _ in 0..3 {
        let started =
            two_at_once(&database, [&other("http://jeton.test"), &other("http://jeton.test/eu")]).await;
        let refused: Vec<_> = started.iter().filter_map(|it| it.as_ref().err()).collect();
        assert!(!refused.is_empty(), "both serve");
        for said in refused {
            assert!(said.contains("has the issuer http://jeton.test"), "{said}");
        }
        drop(started);
        // Killed servers still count for some seconds.
        database.execute("delete from replica").await;
    }
    let same = two_at_once(&database, [&other("http://jeton.test"), &other("http://jeton.test")]).await;
    assert!(
        same.iter().all(Result::is_ok),
        "{:?}",
        same.iter().filter_map(|it| it.as_ref().err()).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn e14_another_master_key_and_another_version_are_warned_of_and_doctor_repeats_it() {
    let world = World::start().await;
    let directory = tempfile::tempdir().unwrap();
    let previous = directory.path().join("previous.key");
    write_private(&previous, &master_key_text());
    let other = jeton::mint::MasterKey::generate().unwrap().to_text().to_string();
    let previous = previous.display().to_string();
    let options = ServerOptions {
        master_key: Some(other),
        arguments: ["--previous-master-key-file", &previous].map(str::to_owned).to_vec(),
        ..ServerOptions::default()
    };
    // The first one is of another version, as while an update goes on.
    world.sql("update replica set version = '0.0.1'").await;
    let second = Server::start(&world.database.url, directory.path(), &options).await;
    let logged = second.logged();
    assert!(logged.contains("another replica has another master key"), "{logged}");
    assert!(logged.contains("another replica is of another version"), "{logged}");
    let shell = Shell::of(&world, "admin");
    until("doctor repeats it", async || {
        let out = shell.run(&["doctor"]).await.out;
        out.contains("master keys differ") && out.contains("versions differ")
    })
    .await;
}

/// The ten minutes that it is by the database's clock.
const SLOT: &str = "select floor(extract(epoch from now()))::bigint / 600";

/// Two replicas, then one, then two again. False: the ten minutes were over meanwhile.
async fn the_fewest_are_noted() -> bool {
    let mut world = World::start().await;
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (url, options) = (world.database.url.clone(), ServerOptions::default());
    let another = |place: usize| Server::start(&url, directories[place].path(), &options);
    let second = another(0).await;
    let (store, slot) = (world.store(), world.number(SLOT).await);
    // Records older than a day are forgotten; others count.
    for age in [143, 144, 145, 200] {
        world.sql(&format!("insert into fleet_size values ({slot} - {age}, 100 + {age})")).await;
    }
    let noted = async |world: &World, count: i64, expected: i64| {
        let registered = "select count(*) from replica";
        until("so many are registered", async || world.number(registered).await == count).await;
        store.note_fleet_size().await.unwrap();
        let found = world.number("select replicas::bigint from fleet_size order by slot desc limit 1").await;
        let in_time = world.number(SLOT).await == slot;
        assert!(!in_time || found == expected, "{found} where there were {count}");
        in_time
    };
    let mut in_time = noted(&world, 2, 2).await;
    assert_eq!(world.number("select count(*) from fleet_size where replicas > 244").await, 0);
    assert!(store.most_replicas().await.unwrap() >= 243);
    let third = another(1);
    world.server.terminate();
    world.server.ended().await;
    in_time &= noted(&world, 1, 1).await;
    let third = third.await;
    in_time &= noted(&world, 2, 1).await;
    drop((second, third));
    in_time
}

#[tokio::test]
async fn e14_the_fewest_replicas_of_ten_minutes_are_noted_for_a_day() {
    for _ in 0..3 {
        if the_fewest_are_noted().await {
            return;
        }
    }
    panic!("ten minutes were over each time");
}
