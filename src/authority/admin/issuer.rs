//! Trusted issuers: read from the database, written through the log, in effect on every replica when the call returns.

use crate::{
    authority::{
        Authority, Caller, Error, Invalid,
        access::assertion::{AssertionRefused, Tested},
        admin::{issuer_form::check_registration, page::page},
    },
    state::{IssuerRegistration, Permission, Snapshot, TrustedIssuer},
    store::{ISSUERS_MAX, IssuerRow, IssuerWrite, NewAudit},
};
use jeton_token::{Revision, text};

/// The most trusted issuers of a page.
const PAGE_MAX: i32 = 50;
/// Tries of an update if others were faster.
const TRIES_MAX: u32 = 5;

/// A field of a trusted issuer that a write may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IssuerField {
    /// For people.
    DisplayName,
    /// `iss`.
    Issuer,
    /// The source of its keys.
    KeySource,
    /// Accepted `aud` values.
    Audiences,
    /// The greatest age of an assertion.
    MaxAge,
    /// Accepted algorithms.
    Algorithms,
    /// The rules.
    Rules,
    /// Its assertions may revoke.
    MayRevoke,
    /// Where its keys may be fetched from.
    AllowPrivateAddresses,
    /// Its assertions are refused.
    Disabled,
}

impl IssuerField {
    /// Every field, with its name in masks, errors and the audit.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::DisplayName, "display_name"),
        (Self::Issuer, "issuer"),
        (Self::KeySource, "key_source"),
        (Self::Audiences, "audiences"),
        (Self::MaxAge, "max_age"),
        (Self::Algorithms, "algorithms"),
        (Self::Rules, "rules"),
        (Self::MayRevoke, "may_revoke"),
        (Self::AllowPrivateAddresses, "allow_private_addresses"),
        (Self::Disabled, "disabled"),
    ];
}

/// A change of one trusted issuer.
#[derive(Clone, Debug)]
pub struct IssuerUpdate {
    /// The new values, and the issuer that they are for.
    pub issuer: IssuerRow,
    /// The fields to write.
    pub fields: Vec<IssuerField>,
    /// The etag that the caller has read.
    pub etag: Option<Revision>,
}

impl Authority {
    /// One trusted issuer.
    pub async fn get_issuer(&self, caller: &Caller, issuer_id: &str) -> Result<IssuerRow, Error> {
        caller.must(Permission::AdminRead)?;
        check_id("issuer_id", issuer_id)?;
        self.store.issuer(issuer_id).await?.ok_or_else(|| missing(issuer_id))
    }

    /// A page of trusted issuers, by their short ids.
    pub async fn list_issuers(
        &self,
        caller: &Caller,
        page_size: i32,
        page_token: &str,
    ) -> Result<(Vec<IssuerRow>, String), Error> {
        caller.must(Permission::AdminRead)?;
        // A registration may be as long as its request: more of them would be too long for a message.
        let page = page("issuers", page_size.min(PAGE_MAX), page_token)?;
        let mut rows = self.store.issuers_after(page.after_name()?, page.limit()).await?;
        let next = page.cut(&mut rows, |row| row.issuer_id.clone());
        Ok((rows, next))
    }

    /// Registers a trusted issuer.
    pub async fn create_issuer(&self, caller: &Caller, mut new: IssuerRow) -> Result<IssuerRow, Error> {
        caller.must(Permission::AdminWrite)?;
        check_id("issuer.issuer_id", &new.issuer_id)?;
        self.check_issuer(&new)?;
        let audit = self.audit_of_issuer(caller, "CreateIssuer", &new.issuer_id, "");
        let (written, create_time) = self.store.create_issuer(&new, &audit).await?;
        new.revision = written_at(written, &new)?;
        new.create_time = create_time.unwrap_or(new.create_time);
        self.changed(&audit, new.revision).await?;
        Ok(new)
    }

    /// Changes the named fields of a trusted issuer.
    pub async fn update_issuer(&self, caller: &Caller, update: &IssuerUpdate) -> Result<IssuerRow, Error> {
        caller.must(Permission::AdminWrite)?;
        let issuer_id = &update.issuer.issuer_id;
        check_id("issuer.issuer_id", issuer_id)?;
        let named = IssuerField::ALL.iter().filter(|(field, _)| update.fields.contains(field));
        let note = named.map(|(_, name)| *name).collect::<Vec<_>>().join(" ");
        for _ in 0..TRIES_MAX {
            let stored = self.store.issuer(issuer_id).await?;
            // A refused row is no base for another: that would vouch for values that jeton did not write.
            let stored = stored.filter(|row| !row.is_refused()).ok_or_else(|| missing(issuer_id))?;
            check_etag(&stored, update.etag)?;
            let expected = stored.revision;
            let mut merged = merge(stored, update);
            self.check_issuer(&merged)?;
            let audit = self.audit_of_issuer(caller, "UpdateIssuer", issuer_id, &note);
            let written = self.store.update_issuer(&merged, expected, &audit).await?;
            if written == IssuerWrite::Stale {
                continue;
            }
            merged.revision = written_at(written, &merged)?;
            self.changed(&audit, merged.revision).await?;
            return Ok(merged);
        }
        Err(Error::Overloaded)
    }

    /// Removes a trusted issuer. What was obtained by its assertions lives on.
    pub async fn delete_issuer(
        &self,
        caller: &Caller,
        issuer_id: &str,
        etag: Option<Revision>,
    ) -> Result<(), Error> {
        caller.must(Permission::AdminWrite)?;
        check_id("issuer_id", issuer_id)?;
        for _ in 0..TRIES_MAX {
            let stored = self.store.issuer(issuer_id).await?.ok_or_else(|| missing(issuer_id))?;
            check_etag(&stored, etag)?;
            let audit = self.audit_of_issuer(caller, "DeleteIssuer", issuer_id, "");
            let written = self.store.delete_issuer(issuer_id, stored.revision, &audit).await?;
            if written == IssuerWrite::Stale {
                continue;
            }
            self.changed(&audit, written_at(written, &stored)?).await?;
            return Ok(());
        }
        Err(Error::Overloaded)
    }

    /// How an assertion fares.
    pub async fn test_assertion(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        text: &str,
    ) -> Result<(Tested, Option<AssertionRefused>), Error> {
        caller.must(Permission::AdminRead)?;
        if text.is_empty() {
            return Err(Invalid::required("assertion").into());
        }
        Ok(self.tested(snapshot, text).await)
    }

    /// Why this replica could not read an issuer's keys the last time.
    #[must_use]
    pub fn keys_fault(&self, issuer_id: &str) -> String {
        self.issuer_keys.fault(issuer_id).map_or_else(String::new, |fault| fault.to_string())
    }

    fn check_issuer(&self, row: &IssuerRow) -> Result<(), Invalid> {
        check_registration(&row.registration, &self.issuer)?;
        let issuer =
            TrustedIssuer::new(row.issuer_id.clone(), Revision::ZERO, row.registration.clone(), row.disabled);
        issuer.map(|_| ()).map_err(|(field, rule)| Invalid::field(format!("issuer.{field}"), rule))
    }

    fn audit_of_issuer(
        &self,
        caller: &Caller,
        action: &'static str,
        issuer_id: &str,
        note: &str,
    ) -> NewAudit {
        let note = format!("issuer {issuer_id} {note}").trim_end().to_owned();
        NewAudit { note, ..self.audit(caller, action) }
    }
}

fn check_id(field: &str, issuer_id: &str) -> Result<(), Invalid> {
    if issuer_id.is_empty() {
        return Err(Invalid::required(field));
    }
    text::check_issuer_id(issuer_id).map_err(|rule| Invalid::field(field, rule))
}

fn check_etag(stored: &IssuerRow, etag: Option<Revision>) -> Result<(), Error> {
    match etag {
        Some(etag) if etag != stored.revision => {
            Err(Error::EtagMismatch { current: stored.revision.to_string() })
        }
        _ => Ok(()),
    }
}

fn merge(stored: IssuerRow, update: &IssuerUpdate) -> IssuerRow {
    let mut merged = stored;
    let given: &IssuerRegistration = &update.issuer.registration;
    for field in &update.fields {
        let into = &mut merged.registration;
        match field {
            IssuerField::DisplayName => into.display_name.clone_from(&given.display_name),
            IssuerField::Issuer => into.issuer.clone_from(&given.issuer),
            IssuerField::KeySource => into.key_source = given.key_source.clone(),
            IssuerField::Audiences => into.audiences.clone_from(&given.audiences),
            IssuerField::MaxAge => into.max_age_s = given.max_age_s,
            IssuerField::Algorithms => into.algorithms.clone_from(&given.algorithms),
            IssuerField::Rules => into.rules.clone_from(&given.rules),
            IssuerField::MayRevoke => into.may_revoke = given.may_revoke,
            IssuerField::AllowPrivateAddresses => {
                into.allow_private_addresses = given.allow_private_addresses;
            }
            IssuerField::Disabled => merged.disabled = update.issuer.disabled,
        }
    }
    merged
}

/// The revision of a write, or the reason why there is none.
fn written_at(written: IssuerWrite, row: &IssuerRow) -> Result<Revision, Error> {
    let taken = |name: &str| Error::AlreadyExists { resource_type: "issuer", name: name.to_owned() };
    match written {
        IssuerWrite::Written(revision) => Ok(revision),
        IssuerWrite::Stale => Err(missing(&row.issuer_id)),
        IssuerWrite::IdTaken => Err(taken(&row.issuer_id)),
        IssuerWrite::IssuerTaken => Err(taken(&row.registration.issuer)),
        IssuerWrite::TooMany => {
            let rule = format!("one of at most {ISSUERS_MAX} trusted issuers: delete one that is not used");
            Err(Invalid::field("issuer", rule).into())
        }
    }
}

fn missing(issuer_id: &str) -> Error {
    Error::NotFound { resource_type: "issuer", name: issuer_id.to_owned() }
}
