//! Limits of calls, and of failed authentications, per second (C5).

use std::{
    net::IpAddr,
    num::NonZero,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use super::Error;
use crate::listen::holder;

/// The most failed authentications of one address per second: no misconfiguration causes more.
const FAILURES_PER_SECOND: NonZero<u32> = match NonZero::new(20) {
    Some(limit) => limit,
    None => NonZero::<u32>::MIN,
};
/// The least retry delay.
const RETRY_MIN: Duration = Duration::from_millis(1);
/// Addresses that have not failed recently are forgotten at each so many failures.
const FORGET_EVERY: u32 = 1_024;

/// The limiters of one replica. A good credential passes whatever others do from the same address: behind a proxy one
/// client must not lock out its neighbours, and 256 bits cannot be guessed.
pub struct Rates {
    failures: DefaultKeyedRateLimiter<IpAddr>,
    failed: AtomicU32,
    calls: Option<(NonZero<u32>, DefaultKeyedRateLimiter<String>)>,
}

impl Rates {
    /// Limits the calls of each client per second, if a limit is given.
    #[must_use]
    pub fn new(calls_per_second: Option<NonZero<u32>>) -> Self {
        let calls = calls_per_second.map(|limit| (limit, RateLimiter::keyed(Quota::per_second(limit))));
        Self {
            failures: RateLimiter::keyed(Quota::per_second(FAILURES_PER_SECOND)),
            failed: AtomicU32::new(0),
            calls,
        }
    }

    /// The refusal for a caller at this address whose credential is not good.
    pub(super) fn failed(&self, address: IpAddr) -> Error {
        if self.failed.fetch_add(1, Ordering::Relaxed).checked_rem(FORGET_EVERY) == Some(0) {
            self.failures.retain_recent();
        }
        match self.failures.check_key(&holder(address)) {
            Ok(()) => Error::Unauthenticated,
            Err(not_until) => {
                limited(FAILURES_PER_SECOND, not_until.wait_time_from(DefaultClock::default().now()))
            }
        }
    }

    /// Refuses a call beyond its client's rate.
    pub(super) fn called(&self, client_id: &String) -> Result<(), Error> {
        let Some((limit, calls)) = &self.calls else { return Ok(()) };
        calls
            .check_key(client_id)
            .map_err(|not_until| limited(*limit, not_until.wait_time_from(DefaultClock::default().now())))
    }
}

fn limited(limit: NonZero<u32>, retry: Duration) -> Error {
    // It may have become free between the two readings of the clock.
    Error::RateLimited { limit_per_second: limit.get(), retry: retry.max(RETRY_MIN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c5_failures_are_limited_by_address_and_not_beyond_it() {
        let rates = Rates::new(None);
        let address =
            |text: &str| text.parse::<IpAddr>().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        let told: Vec<Error> = (0..200).map(|_| rates.failed(address("192.0.2.1"))).collect();
        let plain = told.iter().filter(|error| matches!(error, Error::Unauthenticated)).count();
        assert!((20..=30).contains(&plain), "the limit, and what a slow machine adds to it: {plain}");
        assert!(matches!(told.last(), Some(Error::RateLimited { limit_per_second: 20, .. })));
        assert!(matches!(rates.failed(address("192.0.2.2")), Error::Unauthenticated));
    }

    #[test]
    fn c5_a_holder_of_ipv6_addresses_is_one() {
        let of = |text: &str| text.parse().map(holder);
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
