//! A server inside the test's process, for settings that a shipped one does not have, such as a wrong clock.

use std::sync::Arc;

use jeton::{
    mint::MasterKey,
    serve::{Access, Bounds, Leave, Listeners, Settings, serve},
};
use jeton_state::clock::Clock;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::server::Ready;

/// Ends with the test.
pub struct InProcess {
    pub ready: Ready,
    /// Its clocks, to step them.
    pub clock: Arc<Clock>,
    stop: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl InProcess {
    /// On this database, with a wall clock that is wrong by `shift_ms`.
    pub async fn start(database_url: &str, shift_ms: i64) -> Self {
        let bind = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listeners = Listeners { public: bind().await, admin: bind().await, ops: bind().await };
        let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let ready = Ready {
            public: address(&listeners.public),
            admin: address(&listeners.admin),
            ops: address(&listeners.ops),
            issuer: "http://jeton.test".to_owned(),
            replica: format!("in-process{shift_ms:+}"),
            pid: std::process::id(),
        };
        let clock = Arc::new(Clock::shifted(shift_ms));
        let settings = Settings {
            access: Access::default(),
            leave: Leave::default(),
            bounds: Bounds::default(),
            threads: std::num::NonZero::<usize>::MIN,
            database_url: database_url.to_owned(),
            allow_fsync_off: true,
            master_key: MasterKey::parse(&super::master_key_text()).unwrap(),
            issuer: Some(ready.issuer.clone()),
            replica: ready.replica.clone(),
            ready_file: None,
            previous_master_key: None,
            schedule: jeton::replica::Schedule::default(),
            advertise: None,
            prober: None,
            clock: Arc::clone(&clock),
            beside: |routes| routes,
        };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listeners, settings, stop.clone()));
        Self { ready, clock, stop, serving }
    }

    /// Asks it to end, and waits for it.
    pub async fn ended(mut self) {
        self.stop.cancel();
        (&mut self.serving).await.unwrap().unwrap();
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
