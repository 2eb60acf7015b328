//! A hash table in shards, each under its own lock: many readers, few writers.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
    iter,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use hashbrown::{DefaultHashBuilder, HashMap, hash_map::Entry};

/// Enough that a writer seldom meets a reader; a power of two.
const SHARDS: usize = 64;

type Shard<K, V> = RwLock<HashMap<K, V, DefaultHashBuilder>>;

/// The table. Locks are held for one look-up or one change, never across an await.
pub(super) struct Sharded<K, V> {
    hasher: DefaultHashBuilder,
    shards: Box<[Shard<K, V>]>,
    /// Set when anything is put in. Most tables of most servers stay empty; their readers only check this.
    used: AtomicBool,
}

impl<K: Hash + Eq, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let hasher = DefaultHashBuilder::default();
        let shards = (0..SHARDS).map(|_| RwLock::new(HashMap::with_hasher(hasher.clone()))).collect();
        Self { hasher, shards, used: AtomicBool::new(false) }
    }
}

impl<K: Hash + Eq, V> Sharded<K, V> {
    /// The result of `read` for the value of `key`.
    pub(super) fn get<Q: Hash + Eq + ?Sized, T>(&self, key: &Q, read: impl FnOnce(&V) -> T) -> Option<T>
    where
        K: Borrow<Q>,
    {
        // The release store that publishes a revision comes after this flag is set, so a reader of the revision sees
        // the flag.
        if !self.used.load(Ordering::Relaxed) {
            return None;
        }
        read_lock(self.shard(key)?).get(key).map(read)
    }

    /// Changes the value of `key`; `None` in means absent, `None` out removes it.
    pub(super) fn change(&self, key: K, change: impl FnOnce(Option<V>) -> Option<V>) {
        let Some(shard) = self.shard(&key) else { return };
        self.used.store(true, Ordering::Relaxed);
        change_in(&mut write_lock(shard), key, change);
    }

    /// Changes many values, shard by shard: a lock is taken once for many values, and the CPU waits for their memory at
    /// the same time.
    pub(super) fn change_all<T>(
        &self,
        items: impl IntoIterator<Item = (K, T)>,
        change: impl Fn(T, Option<V>) -> Option<V>,
    ) {
        let mut sorted: Vec<Vec<_>> = iter::repeat_with(Vec::new).take(SHARDS).collect();
        for item in items {
            if let Some(items) = sorted.get_mut(self.index(&item.0)) {
                items.push(item);
            }
        }
        self.used.store(true, Ordering::Relaxed);
        for (shard, items) in self.shards.iter().zip(sorted) {
            if items.is_empty() {
                continue;
            }
            let mut shard = write_lock(shard);
            for (key, new) in items {
                change_in(&mut shard, key, |old| change(new, old));
            }
        }
    }

    /// Makes room for about so many entries in all. A table that grows step by step also holds its old half until it
    /// has moved.
    pub(super) fn reserve(&self, entries: usize) {
        for shard in &self.shards {
            write_lock(shard).reserve(entries.div_ceil(SHARDS));
        }
    }

    /// Keeps the entries for which `keep` returns true, shard by shard, and frees unused memory.
    pub(super) fn retain(&self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for shard in &self.shards {
            let mut shard = write_lock(shard);
            shard.retain(&mut keep);
            if shard.capacity() > shard.len().saturating_mul(4) {
                shard.shrink_to_fit();
            }
        }
    }

    /// Calls `see` with every entry, shard by shard.
    pub(super) fn for_each(&self, mut see: impl FnMut(&K, &V)) {
        for shard in &self.shards {
            read_lock(shard).iter().for_each(|(key, value)| see(key, value));
        }
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| read_lock(shard).len()).sum()
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> Option<&Shard<K, V>> {
        self.shards.get(self.index(key))
    }

    fn index<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The inner table uses the top and bottom bits of the same hash: take bits from between.
        let hash = self.hasher.hash_one(key) >> 32;
        usize::try_from(hash).unwrap_or_default() & SHARDS.saturating_sub(1)
    }
}

fn change_in<K: Hash + Eq, V>(
    shard: &mut HashMap<K, V, DefaultHashBuilder>,
    key: K,
    change: impl FnOnce(Option<V>) -> Option<V>,
) {
    match shard.entry(key) {
        Entry::Occupied(held) => {
            held.replace_entry_with(|_, old| change(Some(old)));
        }
        Entry::Vacant(place) => {
            if let Some(new) = change(None) {
                place.insert(new);
            }
        }
    }
}

// A lock is poisoned if its holder panicked. Every change here is one insertion or removal, so the table is whole
// nevertheless.
fn read_lock<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write_lock<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
