//! The server that is measured: jeton's own server function, with the default log, with the empty RPC beside its
//! services, in a process of its own.

use std::{
    fs::File,
    io::BufRead,
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jeton::{
    mint::MasterKey,
    observe,
    replica::Schedule,
    serve::{Access, Bounds, Leave, Listeners, Settings, serve},
};
use jeton_state::clock::Clock;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    child::{Child, wait_for_parent},
    cpu::Meter,
    empty::Empty,
    issuer::{ISSUER, Issuer},
    target::Target,
};

/// As the released program logs.
const LOG: &str = "info,sqlx=warn";
/// As many as the released program has.
const BACKGROUND_THREADS: usize = 2;
/// Between two looks for the file that says where it listens.
const LOOK: Duration = Duration::from_millis(2);

pub struct Subject {
    _child: Child,
    pub target: Target,
    /// From the start of its process until it served.
    pub start_s: f64,
}

#[derive(Serialize, Deserialize)]
struct Order {
    database_url: String,
    master_key: String,
    threads: NonZero<usize>,
    ready_file: PathBuf,
}

impl Subject {
    /// With so many serving threads.
    pub fn start(issuer: &Issuer, directory: &Path, threads: usize) -> Self {
        let started = Instant::now();
        let ready_file = directory.join("subject-ready.json");
        let _absent = std::fs::remove_file(&ready_file);
        let log = File::options().create(true).append(true).open(directory.join("subject.log")).unwrap();
        let mut child = Child::start("role:subject", Some(log));
        let order = Order {
            database_url: issuer.database_url.clone(),
            master_key: issuer.master_key.clone(),
            threads: NonZero::new(threads).unwrap(),
            ready_file: ready_file.clone(),
        };
        child.say(&serde_json::to_string(&order).unwrap());
        let [public, admin]: [SocketAddr; 2] = serde_json::from_str(&child.hear()).unwrap();
        while !ready_file.exists() {
            assert!(child.lives(), "the server ended at its start: see {}", directory.display());
            std::thread::sleep(LOOK);
        }
        let start_s = started.elapsed().as_secs_f64();
        let meter = Some(Meter::Serving(child.pid()));
        let target =
            Target { addresses: vec![public], api_key: issuer.api_key.clone(), admin: Some(admin), meter };
        Self { _child: child, target, start_s }
    }
}

pub fn main() {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).unwrap();
    let order: Order = serde_json::from_str(&line).unwrap();
    observe::log_to_stderr(LOG, "bench").unwrap();
    let threads = BACKGROUND_THREADS;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
    runtime.block_on(async {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let listeners = Listeners {
            public: bind().await.unwrap(),
            admin: bind().await.unwrap(),
            ops: bind().await.unwrap(),
        };
        let addresses = [&listeners.public, &listeners.admin].map(|it| it.local_addr().unwrap());
        println!("{}", serde_json::to_string(&addresses).unwrap());
        let settings = Settings {
            allow_fsync_off: true,
            database_url: order.database_url,
            master_key: MasterKey::parse(&order.master_key).unwrap(),
            issuer: Some(ISSUER.into()),
            replica: "bench".into(),
            ready_file: Some(order.ready_file),
            previous_master_key: None,
            schedule: Schedule::default(),
            advertise: None,
            prober: None,
            clock: Clock::system().into(),
            access: Access::default(),
            leave: Leave::default(),
            bounds: Bounds::default(),
            threads: order.threads,
            beside: |routes| routes.add_service(Empty),
        };
        let stop = CancellationToken::new();
        let asked = stop.clone();
        std::thread::spawn(move || {
            wait_for_parent();
            asked.cancel();
        });
        serve(listeners, settings, stop).await.unwrap();
    });
}
