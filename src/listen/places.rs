//! The places of a listener for connections. Unauthenticated connections have few, and make room for new ones. A busy
//! connection keeps no place by that, because a request can be made to last. Of the address with the most places, the
//! connection is closed on which nothing has begun for longest: so a new connection has the time in which all others
//! would have to send a request.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use crate::listen::network::{Network, holder};

/// Connections of one listener: each costs some ten kB, and a descriptor.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Connections of one address that have not authenticated, by default.
pub const STRANGERS_PER_ADDRESS_MAX: usize = 256;
/// Connections of all addresses that have not authenticated: each holds some tens of KB, whatever it does.
pub const STRANGERS_MAX: usize = 384;
/// The least number of places that a client may have.
const PER_CLIENT_MIN: usize = 64;
/// A client may have one of so many places.
const PER_CLIENT_SHARE: usize = 4;
/// Connections that make room take a moment to end: at most so many at once.
const ENDING_MAX: usize = 64;

/// The limits of the number of connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of all connections.
    pub connections: usize,
    /// Of those that have not authenticated.
    pub strangers: usize,
    /// Of those among them from one address.
    pub strangers_per_address: usize,
    /// Of those of one client.
    pub per_client: usize,
    /// Balancers, behind whose addresses are many peers: the limit of an address does not hold for them.
    pub trusted: Arc<[Network]>,
}

impl Limits {
    /// The limits of a listener with so many places.
    #[must_use]
    pub fn of(connections: usize, strangers_per_address: usize, trusted: Arc<[Network]>) -> Self {
        let with_one_address = strangers_per_address.saturating_mul(3).div_ceil(2);
        let strangers = STRANGERS_MAX.max(with_one_address).min(connections.div_ceil(2));
        Self {
            connections,
            strangers,
            // One address alone does not keep all others out.
            strangers_per_address: strangers_per_address.min(strangers.saturating_mul(2).div_ceil(3)),
            per_client: connections.div_ceil(PER_CLIENT_SHARE).max(PER_CLIENT_MIN),
            trusted,
        }
    }
}

/// The places of one listener.
pub(super) struct Places {
    limits: Limits,
    state: Mutex<State>,
    /// The time of the latest event.
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

/// The facts about the connection at a place.
pub(super) struct Standing {
    places: Arc<Places>,
    id: u64,
    /// The holder of its address.
    holder: IpAddr,
    /// The time when its latest request began, or when it was opened.
    last: AtomicU64,
    client: Mutex<Option<String>>,
    leave: Notify,
}

/// A place, taken until this is dropped.
pub(super) struct Place(Arc<Standing>);

impl Places {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default(), now: AtomicU64::new(0) })
    }

    /// A place for a connection from this address; `None`: there is none, and no connection can make room.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let trusted = self.limits.trusted.iter().any(|network| network.contains(address));
        let holder = holder(address);
        let mut state = self.state();
        if !trusted && state.of_address(holder) >= self.limits.strangers_per_address {
            state.make_room_of(holder)?;
        }
        if state.strangers.len() >= self.limits.strangers || state.open >= self.limits.connections {
            state.make_room()?;
        }
        if state.open >= self.limits.connections.saturating_add(ENDING_MAX) {
            return None;
        }
        let id = state.next;
        state.next = id.wrapping_add(1);
        state.open = state.open.saturating_add(1);
        let count = state.addresses.entry(holder).or_default();
        *count = count.saturating_add(1);
        let standing = Arc::new(Standing {
            places: Arc::clone(self),
            id,
            holder,
            last: AtomicU64::new(self.tick()),
            client: Mutex::default(),
            leave: Notify::new(),
        });
        state.strangers.insert(id, Arc::clone(&standing));
        Some(Place(standing))
    }

    /// Closes an unauthenticated connection.
    pub(super) fn make_room(&self) {
        // If there is none, new connections have to wait.
        let _none = self.state().make_room();
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

    /// Closes one of the address with the most places.
    fn make_room(&mut self) -> Option<()> {
        let most = *self.addresses.values().max()?;
        let of_most = |it: &&Arc<Standing>| self.of_address(it.holder) == most;
        let longest =
            self.strangers.values().filter(of_most).min_by_key(|it| it.last.load(Ordering::Relaxed));
        let longest = Arc::clone(longest?);
        self.send_away(&longest);
        Some(())
    }

    /// Closes one of this address.
    fn make_room_of(&mut self, holder: IpAddr) -> Option<()> {
        let own = self.strangers.values().filter(|it| it.holder == holder);
        let longest = Arc::clone(own.min_by_key(|it| it.last.load(Ordering::Relaxed))?);
        self.send_away(&longest);
        Some(())
    }

    fn send_away(&mut self, standing: &Standing) {
        self.forget_stranger(standing);
        standing.send_away();
    }

    /// False: it has authenticated meanwhile.
    fn forget_stranger(&mut self, standing: &Standing) -> bool {
        let was = self.strangers.remove(&standing.id).is_some();
        if was {
            less(&mut self.addresses, &standing.holder);
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

impl Standing {
    /// Records that this client has authenticated on the connection. False: the client has as many as allowed, and this
    /// one stays among the unauthenticated.
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

    /// Records that a request begins.
    pub(super) fn begins(&self) {
        self.last.store(self.places.tick(), Ordering::Relaxed);
    }

    /// Ends its connection, on whatever thread it is.
    pub(super) fn send_away(&self) {
        self.leave.notify_one();
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
        first.0.begins();
        let third = from(&all, "192.0.2.1").unwrap();
        assert_eq!([&first, &second, &other, &third].map(left), [false, true, false, false]);
        drop(third);
        let _fourth = from(&all, "192.0.2.1").unwrap();
        assert!(!left(&first), "one that ends makes room");
    }

    #[test]
    fn e5_the_address_with_most_places_makes_room_whatever_is_in_flight_on_them() {
        let all = places(16, 8, &["192.0.2.0/24"]);
        let first = from(&all, "192.0.2.9").unwrap();
        let many: Vec<_> = (0..7).map(|_| from(&all, "192.0.2.1").unwrap()).collect();
        for place in &many {
            place.0.begins();
        }
        // A new connection stays while more come than there are places, and so does the one before it.
        let new = from(&all, "192.0.2.8").unwrap();
        let more: Vec<_> = (0..20).map(|_| from(&all, "192.0.2.1").unwrap()).collect();
        assert!(!left(&first) && !left(&new));
        assert!(many.iter().all(left), "they go in turn");
        assert_eq!(more.iter().filter(|place| !left(place)).count(), 6);
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
