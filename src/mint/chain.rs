//! Chains of audit rows. The tag of each row is a MAC over the tag before it: so anybody who can write to the database,
//! but has no master key, can neither change a row, nor leave one out, nor add one without being noticed.

use uuid::Uuid;

use crate::mint::{
    row_mac::{RowFields, RowKeys},
    seal::MasterKey,
};

/// The label under which the key of chains is derived from the master key.
const CHAIN_LABEL: &[u8] = b"jeton-audit-chain-v1";

/// The keys of chains: one makes tags; those of other master keys only verify.
#[derive(Clone, Debug)]
pub struct ChainKeys(RowKeys);

impl ChainKeys {
    /// Tags are made under `master`; those made under `others` verify, too.
    #[must_use]
    pub fn new<'a>(master: &MasterKey, others: impl IntoIterator<Item = &'a MasterKey>) -> Self {
        Self(RowKeys::labelled(CHAIN_LABEL, master, others))
    }

    /// The tag of a row: over its chain, its number (from 1 on), the tag before it (empty for the first) and its
    /// content.
    #[must_use]
    pub fn tag(&self, chain: Uuid, number: i64, before: &[u8], row: &RowFields) -> Vec<u8> {
        self.0.mac(&fields(chain, number, before, row))
    }

    /// Returns whether a tag is that of a row, under any of the keys.
    #[must_use]
    pub fn fits(&self, chain: Uuid, number: i64, before: &[u8], row: &RowFields, tag: &[u8]) -> bool {
        self.0.fits(&fields(chain, number, before, row), tag)
    }

    /// The MAC of a statement about chains.
    #[must_use]
    pub fn note_mac(&self, text: &str) -> Vec<u8> {
        self.0.mac(&RowFields::of("note").text(text))
    }

    /// Returns whether a text has its MAC, under any of the keys.
    #[must_use]
    pub fn fits_note(&self, text: &str, mac: &[u8]) -> bool {
        self.0.fits(&RowFields::of("note").text(text), mac)
    }
}

fn fields(chain: Uuid, number: i64, before: &[u8], row: &RowFields) -> RowFields {
    RowFields::of("link").bytes(chain.as_bytes()).number(number).bytes(before).bytes(row.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_fits_one_row_at_one_place_of_one_chain() {
        let Ok(master) = MasterKey::parse(&"07".repeat(32)) else { unreachable!("a master key") };
        let keys = ChainKeys::new(&master, []);
        let (chain, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let row = RowFields::of("audit").text("Revoke");
        let first = keys.tag(chain, 1, &[], &row);
        let second = keys.tag(chain, 2, &first, &row);
        assert!(keys.fits(chain, 1, &[], &row, &first) && keys.fits(chain, 2, &first, &row, &second));
        assert!(!keys.fits(other, 2, &first, &row, &second));
        assert!(!keys.fits(chain, 3, &first, &row, &second));
        assert!(!keys.fits(chain, 2, &second, &row, &second));
        assert!(!keys.fits(chain, 2, &first, &RowFields::of("audit").text("Issue"), &second));
        // A MAC of a row of a table is no tag.
        assert!(!RowKeys::new(&master, []).fits(&fields(chain, 1, &[], &row), &first));
    }
}
