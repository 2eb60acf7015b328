//! The places that a listener has for connections: who has not authenticated has few, and makes room first.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use super::network::Network;

/// Connections of one listener: each costs some ten kB, and a descriptor.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Those of one address that have not authenticated, unless it is said otherwise.
pub const STRANGERS_PER_ADDRESS_MAX: usize = 256;
/// Those of all addresses that have not authenticated.
pub const STRANGERS_MAX: usize = 512;
/// A client has at least so many places, however few there are.
const PER_CLIENT_MIN: usize = 64;
/// A client has one of so many places.
const PER_CLIENT_SHARE: usize = 4;
/// Connections that make room take a moment to end: so many at once.
const ENDING_MAX: usize = 64;
/// What one holder of IPv6 addresses has of them at least (RFC 6177): its first 64 bits.
const IPV6_HOLDER_BITS: u32 = 64;

/// How many connections there may be.
#[derive(Clone, Debug)]
pub struct Limits {
    /// In all.
    pub connections: usize,
    /// Those that have not authenticated.
    pub strangers: usize,
    /// Those of them from one address.
    pub strangers_per_address: usize,
    /// Those of one client.
    pub per_client: usize,
    /// Balancers, behind whose addresses are many: the limit of an address does not hold for them.
    pub trusted: Arc<[Network]>,
}

impl Limits {
    /// Those of a listener with so many places.
    #[must_use]
    pub fn of(connections: usize, strangers_per_address: usize, trusted: Arc<[Network]>) -> Self {
        let strangers =
            STRANGERS_MAX.max(strangers_per_address.saturating_mul(2)).min(connections.div_ceil(2));
        Self {
            connections,
            strangers,
            // One address alone does not keep all others out.
            strangers_per_address: strangers_per_address.min(strangers.div_ceil(2)),
            per_client: connections.div_ceil(PER_CLIENT_SHARE).max(PER_CLIENT_MIN),
            trusted,
        }
    }
}

/// The places of one listener.
pub(super) struct Places {
    limits: Limits,
    state: Mutex<State>,
    /// Of what was done last.
    now: AtomicU64,
}

#[derive(Default)]
struct State {
    next: u64,
    open: usize,
    strangers: HashMap<u64, Arc<Standing>>,
    addresses: HashMap<IpAddr, usize>,
    clients: HashMap<String, usize>,
}

/// What is known of the connection at a place.
pub(super) struct Standing {
    places: Arc<Places>,
    id: u64,
    /// Whom its address stands for, where that is limited.
    holder: Option<IpAddr>,
    /// Requests that have not been answered to their end, while it was a stranger's.
    busy: AtomicUsize,
    last: AtomicU64,
    client: Mutex<Option<String>>,
    leave: Notify,
}

/// A place, taken until this is dropped.
pub(super) struct Place(Arc<Standing>);

/// A request of a stranger that has not been answered to its end.
pub(super) struct Busy(Arc<Standing>);

impl Places {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default(), now: AtomicU64::new(0) })
    }

    /// A place for a connection from this address; `None`: there is none, and nobody idle who could make room.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let trusted = self.limits.trusted.iter().any(|network| network.contains(address));
        let holder = (!trusted).then(|| holder(address));
        let mut state = self.state();
        if holder.is_some_and(|holder| state.of_address(holder) >= self.limits.strangers_per_address) {
            state.make_room(|standing| standing.holder == holder)?;
        }
        if state.strangers.len() >= self.limits.strangers || state.open >= self.limits.connections {
            state.make_room(|_| true)?;
        }
        if state.open >= self.limits.connections.saturating_add(ENDING_MAX) {
            return None;
        }
        let id = state.next;
        state.next = id.wrapping_add(1);
        state.open = state.open.saturating_add(1);
        if let Some(holder) = holder {
            let count = state.addresses.entry(holder).or_default();
            *count = count.saturating_add(1);
        }
        let standing = Arc::new(Standing {
            places: Arc::clone(self),
            id,
            holder,
            busy: AtomicUsize::new(0),
            last: AtomicU64::new(self.tick()),
            client: Mutex::default(),
            leave: Notify::new(),
        });
        state.strangers.insert(id, Arc::clone(&standing));
        Some(Place(standing))
    }

    /// Lets the stranger go who has been idle for longest.
    pub(super) fn make_room(&self) {
        // Nobody is idle: then who comes has to wait.
        let _none = self.state().make_room(|_| true);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) -> u64 {
        self.now.fetch_add(1, Ordering::Relaxed)
    }
}

impl State {
    fn of_address(&self, holder: IpAddr) -> usize {
        self.addresses.get(&holder).copied().unwrap_or_default()
    }

    fn make_room(&mut self, fits: impl Fn(&Standing) -> bool) -> Option<()> {
        let idle = self.strangers.values().filter(|it| it.busy.load(Ordering::Relaxed) == 0 && fits(it));
        let longest = Arc::clone(idle.min_by_key(|it| it.last.load(Ordering::Relaxed))?);
        self.forget_stranger(&longest);
        longest.leave.notify_one();
        Some(())
    }

    /// False: it is none any more.
    fn forget_stranger(&mut self, standing: &Standing) -> bool {
        let was = self.strangers.remove(&standing.id).is_some();
        if was && let Some(holder) = standing.holder {
            less(&mut self.addresses, &holder);
        }
        was
    }
}

fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Whom an address stands for.
fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let kept = u128::MAX.checked_shl(IPV6_HOLDER_BITS).unwrap_or_default();
            Ipv6Addr::from_bits(address.to_bits() & kept).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Standing {
    /// This client has authenticated on the connection. False: it has as many as it may have, and this one stays a
    /// stranger's.
    pub(super) fn authenticated(&self, client_id: &str) -> bool {
        let mut state = self.places.state();
        let count = state.clients.get(client_id).copied().unwrap_or_default();
        if count >= self.places.limits.per_client || !state.forget_stranger(self) {
            return false;
        }
        state.clients.insert(client_id.to_owned(), count.saturating_add(1));
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client_id.to_owned());
        true
    }

    /// A request begins.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.last.store(self.places.tick(), Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    pub(super) fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.0)
    }

    /// Waits until its connection has to make room.
    pub(super) async fn has_to_leave(&self) {
        self.0.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.places.state();
        state.open = state.open.saturating_sub(1);
        state.forget_stranger(&self.0);
        if let Some(client) = self.0.client.lock().unwrap_or_else(PoisonError::into_inner).take() {
            less(&mut state.clients, &client);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn places(connections: usize, per_address: usize, trusted: &[&str]) -> Arc<Places> {
        let trusted = trusted.iter().map(|network| network.parse().unwrap()).collect();
        Places::new(Limits { per_client: 2, ..Limits::of(connections, per_address, trusted) })
    }

    fn from(places: &Arc<Places>, address: &str) -> Option<Place> {
        places.take(address.parse().unwrap())
    }

    fn left(place: &Place) -> bool {
        !place.0.places.state().strangers.contains_key(&place.0.id)
    }

    #[test]
    fn e5_a_stranger_too_many_from_one_address_takes_the_place_of_the_idlest() {
        let all = places(100, 2, &[]);
        let first = from(&all, "192.0.2.1").unwrap();
        let second = from(&all, "192.0.2.1").unwrap();
        let other = from(&all, "192.0.2.2").unwrap();
        drop(first.0.busy());
        let third = from(&all, "192.0.2.1").unwrap();
        assert_eq!([&first, &second, &other, &third].map(left), [false, true, false, false]);
        // Where nobody is idle there is no room.
        let _busy = [first.0.busy(), third.0.busy()];
        assert!(from(&all, "192.0.2.1").is_none());
        assert!(from(&all, "192.0.2.2").is_some());
        drop(first);
        assert!(from(&all, "192.0.2.1").is_some(), "one that ends makes room");
    }

    #[test]
    fn e5_whoever_authenticates_counts_no_more_for_its_address_but_for_its_client() {
        let all = places(100, 1, &[]);
        let mut known = Vec::new();
        for _ in 0..2 {
            let place = from(&all, "192.0.2.1").unwrap();
            assert!(place.0.authenticated("a"));
            known.push(place);
        }
        let third = from(&all, "192.0.2.1").unwrap();
        assert!(!third.0.authenticated("a"), "it has as many as it may have");
        assert!(third.0.authenticated("b"));
        known.pop();
        assert!(from(&all, "192.0.2.1").unwrap().0.authenticated("a"));
        drop((known, third));
        let state = all.state();
        assert!(
            state.clients.is_empty() && state.addresses.is_empty() && state.open == 0,
            "nothing is left behind"
        );
    }

    #[test]
    fn e5_the_limit_of_an_address_does_not_hold_for_a_trusted_proxy_and_holds_for_a_whole_ipv6_network() {
        let all = places(100, 1, &["10.0.0.0/8"]);
        let many: Vec<_> = (0..5).map(|_| from(&all, "10.1.2.3").unwrap()).collect();
        assert!(many.iter().all(|place| !left(place)));
        let one = from(&all, "2001:db8::1").unwrap();
        let _two = from(&all, "2001:db8::2").unwrap();
        assert!(left(&one));
    }

    #[test]
    fn e5_when_a_listener_is_full_the_idlest_stranger_makes_room_and_no_client_does() {
        let all = places(4, 4, &[]);
        let known = [from(&all, "192.0.2.1").unwrap(), from(&all, "192.0.2.2").unwrap()];
        assert!(known.iter().all(|place| place.0.authenticated("a")));
        let strangers = [from(&all, "192.0.2.3").unwrap(), from(&all, "192.0.2.4").unwrap()];
        let _fifth = from(&all, "192.0.2.5").unwrap();
        assert_eq!(strangers.each_ref().map(left), [true, false]);
    }
}
