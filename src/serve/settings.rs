//! The settings of a server: what flags, environment and file come to.

use std::{num::NonZero, path::PathBuf, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    listen::Network, mint::MasterKey, prober::ProberSettings, replica::Schedule, rpc,
    serve::ending::DRAIN_TIMEOUT, tls::TlsFiles,
};
use jeton_state::clock::Clock;

/// The settings of a server.
pub struct Settings {
    /// The database.
    pub database_url: String,
    /// That database may lose what it acknowledged: in tests.
    pub allow_fsync_off: bool,
    /// Opens and seals the keys.
    pub master_key: MasterKey,
    /// Opens the keys that it has sealed.
    pub previous_master_key: Option<MasterKey>,
    /// The schedule of key rotations.
    pub schedule: Schedule,
    /// `iss` of every token; by default the URL of the public listener.
    pub issuer: Option<String>,
    /// The name that operators see.
    pub replica: String,
    /// Written as a whole when every listener answers.
    pub ready_file: Option<PathBuf>,
    /// The URL under which other replicas reach the public listener; by default where it is bound.
    pub advertise: Option<String>,
    /// Probes the other replicas.
    pub prober: Option<ProberSettings>,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// Limits of access.
    pub access: Access,
    /// The way in which it ends.
    pub leave: Leave,
    /// Limits of revocations and sessions.
    pub bounds: Bounds,
    /// Threads behind the public listener.
    pub threads: NonZero<usize>,
    /// Services beside jeton's own on the public listener, behind the same auth layer.
    pub beside: fn(rpc::Routes) -> rpc::Routes,
}

/// Limits of access. By default plaintext, and any number of calls.
#[derive(Default)]
pub struct Access {
    /// TLS of the public and of the admin listener; `None`: plaintext.
    pub tls: Option<[TlsFiles; 2]>,
    /// Calls that each client may make per second; `None`: any number.
    pub client_rate: Option<NonZero<u32>>,
    /// Connections that one address may have before they authenticate; `None`: the default.
    pub connections_per_address: Option<NonZero<u16>>,
    /// Balancers, whose addresses are exempt from that.
    pub trusted_proxies: Vec<Network>,
}

/// The way in which a server ends. By default at once, for tests.
#[derive(Clone, Debug, Default)]
pub struct Leave {
    /// The time between the end of readiness and the end of the listeners.
    pub delay: Duration,
    /// Cancelled to end that wait early.
    pub hurry: CancellationToken,
}

/// Limits of revocations (K11) and sessions, of memory, and of the time to end.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most live revocations by bare jti of a client; more are refused.
    pub bare_jti_quota: NonZero<u32>,
    /// The most live sessions of a client; it may open no more.
    pub sessions_per_client: NonZero<u32>,
    /// The most revocations in memory before there is an alert.
    pub high_water: NonZero<u32>,
    /// Memory for tokens whose signatures were found good, MiB.
    pub token_cache_mib: NonZero<u32>,
    /// The longest time from the signal to the end, even with calls in flight or without a database.
    pub drain_timeout: Duration,
}

impl Bounds {
    /// A million: a day of twelve per second, and a tenth of what memory is designed for.
    const BARE_JTI_QUOTA: NonZero<u32> = match NonZero::new(1_000_000) {
        Some(quota) => quota,
        None => NonZero::<u32>::MIN,
    };
    /// A million: 1.3 GB of rows.
    const SESSIONS_PER_CLIENT: NonZero<u32> = match NonZero::new(1_000_000) {
        Some(quota) => quota,
        None => NonZero::<u32>::MIN,
    };
    /// Half of the ten million that memory is designed for: there is time to react.
    const HIGH_WATER: NonZero<u32> = match NonZero::new(5_000_000) {
        Some(limit) => limit,
        None => NonZero::<u32>::MIN,
    };
    /// A million tokens of the usual size. It is allocated as tokens come, and not freed.
    pub const TOKEN_CACHE_MIB: NonZero<u32> = match NonZero::new(768) {
        Some(size) => size,
        None => NonZero::<u32>::MIN,
    };

    /// The default of the longest time to end, with this drain delay.
    #[must_use]
    pub fn drain_timeout_after(delay: Duration) -> Duration {
        delay.saturating_add(DRAIN_TIMEOUT)
    }

    /// The requested limits, or the defaults.
    #[must_use]
    pub fn of(
        bare_jti_quota: Option<NonZero<u32>>,
        sessions_per_client: Option<NonZero<u32>>,
        high_water: Option<NonZero<u32>>,
        token_cache_mib: Option<NonZero<u32>>,
        drain_timeout: Option<Duration>,
    ) -> Self {
        Self {
            bare_jti_quota: bare_jti_quota.unwrap_or(Self::BARE_JTI_QUOTA),
            sessions_per_client: sessions_per_client.unwrap_or(Self::SESSIONS_PER_CLIENT),
            high_water: high_water.unwrap_or(Self::HIGH_WATER),
            token_cache_mib: token_cache_mib.unwrap_or(Self::TOKEN_CACHE_MIB),
            drain_timeout: drain_timeout.unwrap_or(DRAIN_TIMEOUT),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::of(None, None, None, None, None)
    }
}
