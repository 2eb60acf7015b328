//! K1, K10: the disk is full. What is answered as revoked is on it; what cannot be written is refused; and all goes on once
//! there is room.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use jeton_postgres::{Cluster, ClusterOptions};
use jeton_state::clock::Clock;

use crate::world::{Answer, Asking, Database, Fleet, Target, register_clients, store, until, until_within};

/// A file system of its own, in memory.
struct Disk(PathBuf);

impl Disk {
    fn mount(directory: &Path, mib: u32) -> Self {
        fs::create_dir(directory).unwrap();
        let size = format!("size={mib}m,mode=711");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(directory)
            .output()
            .unwrap();
        assert!(mount.status.success(), "it takes root: {}", String::from_utf8_lossy(&mount.stderr));
        Self(directory.to_owned())
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        for size in [1 << 20, 4096, 512, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn start(disk: &Disk) -> Cluster {
    let options = ClusterOptions {
        directory: disk.0.join("postgres"),
        kept: true,
        binaries: std::env::var_os("JETON_POSTGRES_BIN").map(Into::into),
        settings: Vec::new(),
    };
    Cluster::start(&options).unwrap()
}

#[tokio::test]
#[ignore = "it mounts a file system: make faults"]
async fn k10_on_a_full_disk_nothing_is_acknowledged_that_is_not_on_it() {
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let disk = Disk::mount(&parent.path().join("disk"), 400);
    let mut cluster = start(&disk);
    let store = store(&cluster.url("postgres"));
    store.migrate(Clock::system().now()).await.unwrap();
    register_clients(&store).await;
    store.close().await;
    let database = Database { name: "postgres".to_owned(), url: cluster.url("postgres") };
    let fleet = Fleet::on(database, 2).await;
    let good = fleet.caller(0).token("user:good").await;
    let tokens = fleet.caller(0).tokens("user:7", 2_000).await;
    let asking: Vec<_> = (0..2).map(|place| Asking::start([fleet.caller(place)], &tokens[..50])).collect();
    let (mut revoker, complete) = (fleet.caller(0), Answer::Revoked { complete: true });
    disk.fill();
    // Room that Postgres has set aside is used up first; then it refuses, or ends.
    let mut refused = false;
    for token in &tokens {
        let answer = revoker.revoke(Target::Token(Arc::clone(token))).await;
        if answer.is_err() {
            refused = true;
            break;
        }
        // As much as many revocations write.
        let noise = sqlx::query("select pg_logical_emit_message(false, 'noise', repeat('x', 200000))");
        if let Ok(mut connection) =
            <sqlx::PgConnection as sqlx::Connection>::connect(&fleet.database.url).await
        {
            let _full = noise.execute(&mut connection).await;
        }
    }
    assert!(refused, "the disk was full: {}", fleet.history.tally());
    let acknowledged = fleet.history.answered(&complete);
    disk.make_room();
    if !cluster.is_running() {
        drop(cluster);
        cluster = start(&disk);
    }
    let patience = std::time::Duration::from_mins(1);
    for place in 0..2 {
        let mut caller = fleet.caller(place);
        until_within(patience, "it answers", async || caller.validate(&good).await == Answer::ACTIVE).await;
        for token in &tokens[..acknowledged] {
            until("it is revoked", async || caller.validate(token).await == Answer::REVOKED).await;
        }
    }
    for each in asking {
        each.end().await;
    }
    fleet.history.assert_no_stale_answer();
    drop(fleet);
    drop(cluster);
}
