//! What was found: each thing once, in bounded memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::forms::Claims;
use jeton_token::{sha256, text::is_uuid_v7, uuid_unix_ms};

/// The most different ids: seven eighths of 2^21, which a table of 36 MiB holds.
pub const IDS_MAX: usize = 1_835_008;
/// The most bytes of tokens that are kept as text. What is found later is revoked by the id that it names.
const TEXT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most API keys and issuers that are kept: people look at each of them.
const NAMES_MAX: usize = 1_000;
/// An id counts in free text if it is as old as the oldest token that may live, with an hour to spare.
const PAST_MS: i64 = 25 * 60 * 60 * 1_000;
/// And as young as a clock that is ahead by what the server tolerates.
const AHEAD_MS: i64 = 60 * 1_000;

/// Tells texts apart without being them.
type Digest = [u8; 16];

/// An access token.
pub struct Token {
    /// Its text.
    pub text: SecretString,
    /// The jti that it names.
    pub jti: Option<Uuid>,
    /// The end that it names, Unix seconds.
    pub expires: Option<i64>,
    /// The issuer that it names: a place in [`Found::issuers`].
    issuer: Option<usize>,
}

/// All that was found.
pub struct Found {
    now_ms: i64,
    tokens: BTreeMap<Digest, Token>,
    refresh: BTreeMap<Digest, (SecretString, Uuid)>,
    text_bytes: usize,
    ids: HashSet<Uuid>,
    sessions: HashSet<Uuid>,
    api_keys: BTreeSet<String>,
    issuers: Vec<String>,
    places: HashMap<String, usize>,
    /// UUIDs of which none is an id of jeton's: mentions.
    pub other_uuids: u64,
    /// Beginnings of tokens without their ends: mentions.
    pub broken: u64,
    /// Bytes that were searched.
    pub bytes: u64,
    /// There were more different ids than fit.
    pub is_full: bool,
}

impl Found {
    /// Nothing yet. In free text an id counts if it is not older than 25 hours at `now_ms`.
    pub fn new(now_ms: i64) -> Self {
        Self {
            now_ms,
            tokens: BTreeMap::new(),
            refresh: BTreeMap::new(),
            text_bytes: 0,
            ids: HashSet::new(),
            sessions: HashSet::new(),
            api_keys: BTreeSet::new(),
            issuers: Vec::new(),
            places: HashMap::new(),
            other_uuids: 0,
            broken: 0,
            bytes: 0,
            is_full: false,
        }
    }

    /// Returns whether a UUID in free text may be an id of something that lives.
    pub fn is_recent(&self, id: Uuid) -> bool {
        let age_ms = self.now_ms.saturating_sub(uuid_unix_ms(id));
        is_uuid_v7(id) && (-AHEAD_MS..=PAST_MS).contains(&age_ms)
    }

    /// A UUID in free text.
    pub fn add_uuid(&mut self, id: Uuid) {
        if self.is_recent(id) {
            self.add_id(id);
        } else {
            self.other_uuids = self.other_uuids.saturating_add(1);
        }
    }

    /// An id that somebody names on purpose, or that was recognized.
    pub fn add_id(&mut self, id: Uuid) {
        add(&mut self.ids, id, &mut self.is_full);
    }

    /// An access token.
    pub fn add_token(&mut self, text: String, claims: Claims) {
        let digest = digest(&text);
        if self.tokens.contains_key(&digest) {
            return;
        }
        if !self.has_room(text.len()) {
            // Its text is not kept, but what it says that it is.
            match claims.jti {
                Some(jti) => self.add_id(jti),
                None => self.broken = self.broken.saturating_add(1),
            }
            return;
        }
        let issuer = claims.issuer.and_then(|issuer| self.place(issuer));
        let Claims { jti, expires, .. } = claims;
        self.tokens.insert(digest, Token { text: text.into(), jti, expires, issuer });
    }

    /// A token without its signature: its id, if that may live.
    pub fn add_unsigned(&mut self, claims: &Claims) {
        match claims.jti {
            Some(jti) => self.add_uuid(jti),
            None => self.broken = self.broken.saturating_add(1),
        }
    }

    /// A refresh token of a session.
    pub fn add_refresh(&mut self, text: String, session: Uuid) {
        let digest = digest(&text);
        if self.refresh.contains_key(&digest) {
            return;
        }
        if self.has_room(text.len()) {
            self.refresh.insert(digest, (text.into(), session));
        } else {
            add(&mut self.sessions, session, &mut self.is_full);
        }
    }

    /// An API key, by its id.
    pub fn add_api_key(&mut self, id: String) {
        if self.api_keys.len() < NAMES_MAX {
            self.api_keys.insert(id);
        } else {
            self.is_full |= !self.api_keys.contains(&id);
        }
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        let sum = self.text_bytes.saturating_add(bytes);
        let fits = sum <= TEXT_BYTES_MAX;
        if fits {
            self.text_bytes = sum;
        }
        fits
    }

    fn place(&mut self, issuer: String) -> Option<usize> {
        if let Some(place) = self.places.get(&issuer) {
            return Some(*place);
        }
        let place = self.issuers.len();
        if place >= NAMES_MAX {
            return None;
        }
        self.issuers.push(issuer.clone());
        self.places.insert(issuer, place);
        Some(place)
    }

    /// Takes away the tokens that say another issuer made them; without a known issuer none.
    pub fn take_foreign(&mut self, ours: Option<&str>) -> Vec<(Token, String)> {
        let Some(ours) = ours else { return Vec::new() };
        let issuers = &self.issuers;
        let name = |token: &Token| token.issuer.and_then(|place| issuers.get(place)).cloned();
        let is_foreign = |token: &Token| name(token).is_some_and(|issuer| issuer != ours);
        let foreign: Vec<_> = self.tokens.extract_if(.., |_, token| is_foreign(token)).collect();
        foreign
            .into_iter()
            .map(|(_, token)| {
                let issuer = name(&token).unwrap_or_default();
                (token, issuer)
            })
            .collect()
    }

    /// The access tokens.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = &Token> {
        self.tokens.values()
    }

    /// Returns whether a token says that it had expired when the search began.
    pub fn has_expired(&self, token: &Token) -> bool {
        token.expires.is_some_and(|end| end.saturating_mul(1_000) <= self.now_ms)
    }

    /// The number of ids.
    pub fn ids(&self) -> usize {
        self.ids.len()
    }

    /// The number of refresh tokens.
    pub fn refresh_tokens(&self) -> usize {
        self.refresh.len().saturating_add(self.sessions.len())
    }

    /// The API keys, by their ids.
    pub fn api_keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.api_keys.iter().map(String::as_str)
    }

    /// The number of things that can be revoked.
    pub fn targets(&self) -> usize {
        [self.tokens.len(), self.refresh.len(), self.ids.len(), self.sessions.len()].into_iter().sum()
    }

    /// What can be revoked, in an order that depends on nothing but what it is.
    pub fn into_targets(self) -> Targets {
        let sorted = |ids: HashSet<Uuid>| {
            let mut ids: Vec<_> = ids.into_iter().collect();
            ids.sort_unstable();
            ids
        };
        Targets {
            tokens: self.tokens.into_values().collect(),
            refresh: self.refresh.into_values().collect(),
            sessions: sorted(self.sessions),
            ids: sorted(self.ids),
        }
    }
}

fn add(ids: &mut HashSet<Uuid>, id: Uuid, is_full: &mut bool) {
    if ids.len() < IDS_MAX {
        ids.insert(id);
    } else {
        *is_full |= !ids.contains(&id);
    }
}

fn digest(text: &str) -> Digest {
    let mut digest = Digest::default();
    digest.iter_mut().zip(sha256(&[text.as_bytes()])).for_each(|(to, from)| *to = from);
    digest
}

/// What can be revoked, in order: access tokens, refresh tokens, sessions, and ids of which nobody says what they are.
pub struct Targets {
    /// Access tokens.
    pub tokens: Vec<Token>,
    /// Refresh tokens, with their sessions.
    pub refresh: Vec<(SecretString, Uuid)>,
    /// Sessions of refresh tokens whose text was not kept.
    pub sessions: Vec<Uuid>,
    /// Ids.
    pub ids: Vec<Uuid>,
}

/// One of the targets.
pub enum Target<'a> {
    /// The text of an access token.
    Token(&'a Token),
    /// The text of a refresh token.
    Refresh(&'a SecretString, Uuid),
    /// A session.
    Session(Uuid),
    /// A jti or a session.
    Id(Uuid),
}

impl Targets {
    /// Their number.
    pub fn len(&self) -> usize {
        [self.tokens.len(), self.refresh.len(), self.sessions.len(), self.ids.len()].into_iter().sum()
    }

    /// The target at a place.
    pub fn get(&self, index: usize) -> Option<Target<'_>> {
        if let Some(token) = self.tokens.get(index) {
            return Some(Target::Token(token));
        }
        let index = index.checked_sub(self.tokens.len())?;
        if let Some((text, session)) = self.refresh.get(index) {
            return Some(Target::Refresh(text, *session));
        }
        let index = index.checked_sub(self.refresh.len())?;
        if let Some(session) = self.sessions.get(index) {
            return Some(Target::Session(*session));
        }
        self.ids.get(index.checked_sub(self.sessions.len())?).copied().map(Target::Id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Target<'_>> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// 62 bits that tell these targets from others.
    pub fn fingerprint(&self) -> u64 {
        let mut chain = [0_u8; 32];
        let mut block = Vec::new();
        for target in self.iter() {
            match target {
                Target::Token(token) => {
                    block.extend_from_slice(&sha256(&[token.text.expose_secret().as_bytes()]));
                }
                Target::Refresh(text, _) => {
                    block.extend_from_slice(&sha256(&[text.expose_secret().as_bytes()]));
                }
                Target::Session(id) => block.extend_from_slice(&[b"s", id.as_bytes().as_slice()].concat()),
                Target::Id(id) => block.extend_from_slice(id.as_bytes()),
            }
            if block.len() > BLOCK_BYTES {
                chain = sha256(&[&chain, &block]);
                block.clear();
            }
        }
        let end = sha256(&[&chain, &block]);
        end.iter().take(8).fold(0_u64, |value, byte| (value << 8) | u64::from(*byte)) >> 2
    }
}

/// Hashed at once.
const BLOCK_BYTES: usize = 64 * 1024;
