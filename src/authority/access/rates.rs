//! Limits of calls, and of failed authentications, per second (C5).

mod keyed;

use std::{net::IpAddr, num::NonZero, time::Duration};

use crate::{authority::Error, listen::holder};
use jeton_state::clock::Clock;

use crate::authority::access::rates::keyed::KeyedRate;

/// The most failed authentications of one address per second: no misconfiguration causes more.
const FAILURES_PER_SECOND: NonZero<u32> = match NonZero::new(20) {
    Some(limit) => limit,
    None => NonZero::<u32>::MIN,
};
/// The least retry delay.
const RETRY_MIN: Duration = Duration::from_millis(1);

/// The limiters of one replica. A good credential passes whatever others do from the same address: behind a proxy one
/// client must not lock out its neighbours, and 256 bits cannot be guessed.
pub struct Rates {
    failures: KeyedRate<IpAddr>,
    calls: Option<KeyedRate<String>>,
}

impl Rates {
    /// Limits the calls of each client per second, if a limit is given.
    #[must_use]
    pub fn new(calls_per_second: Option<NonZero<u32>>) -> Self {
        Self {
            failures: KeyedRate::per_second(FAILURES_PER_SECOND),
            calls: calls_per_second.map(KeyedRate::per_second),
        }
    }

    /// The refusal for a caller at this address whose credential is not good.
    pub(in crate::authority) fn failed(&self, address: IpAddr, clock: &Clock) -> Error {
        let taken = self.failures.take(&holder(address), since_boot(clock));
        taken.map_or_else(|retry| limited(FAILURES_PER_SECOND, retry), |()| Error::Unauthenticated)
    }

    /// Refuses a call beyond its client's rate.
    pub(in crate::authority) fn called(&self, client_id: &str, clock: &Clock) -> Result<(), Error> {
        let Some(calls) = &self.calls else { return Ok(()) };
        calls.take(client_id, since_boot(clock)).map_err(|retry| limited(calls.limit(), retry))
    }
}

fn since_boot(clock: &Clock) -> Duration {
    Duration::from_micros(u64::try_from(clock.boot_us()).unwrap_or_default())
}

fn limited(limit: NonZero<u32>, retry: Duration) -> Error {
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
        let clock = Clock::system();
        let told: Vec<Error> = (0..200).map(|_| rates.failed(address("192.0.2.1"), &clock)).collect();
        let plain = told.iter().filter(|error| matches!(error, Error::Unauthenticated)).count();
        assert!(plain >= 20, "the limit, and what a slow machine adds to it: {plain}");
        let limited = |error: &Error| matches!(error, Error::RateLimited { limit_per_second: 20, .. });
        assert_eq!(told.iter().filter(|error| limited(error)).count(), told.len() - plain);
        assert!(plain < told.len());
        assert!(matches!(rates.failed(address("192.0.2.2"), &clock), Error::Unauthenticated));
    }

    #[test]
    fn c5_a_holder_of_ipv6_addresses_is_one() {
        let of = |text: &str| text.parse().map(holder);
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
