//! MACs of rows: anybody who can write to the database, but has no master key, cannot make a row that grants anything.

use std::fmt;

use aws_lc_rs::hmac;

use crate::mint::seal::MasterKey;

/// The length of a MAC: HMAC-SHA256.
pub const ROW_MAC_BYTES: usize = 32;

/// The label under which the key of rows is derived from the master key.
const ROW_LABEL: &[u8] = b"jeton-row-mac-v1";

/// The fields of a row as bytes. Two rows have the same bytes only if all their fields are equal: each field is
/// prefixed by its length, and each list by its number of elements.
#[derive(Clone, PartialEq, Eq)]
pub struct RowFields(Vec<u8>);

impl RowFields {
    /// Begins a row of this kind.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        Self(Vec::with_capacity(256)).text(kind)
    }

    /// Adds bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.length(bytes.len());
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: i64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Adds bytes that may be absent.
    #[must_use]
    pub fn optional(mut self, bytes: Option<&[u8]>) -> Self {
        self.0.push(u8::from(bytes.is_some()));
        self.bytes(bytes.unwrap_or_default())
    }

    /// Adds a number that may be absent.
    #[must_use]
    pub fn optional_number(self, number: Option<i64>) -> Self {
        self.optional(number.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice))
    }

    /// Adds a list of texts, in its order.
    #[must_use]
    pub fn list<T: AsRef<str>>(mut self, list: &[T]) -> Self {
        self.length(list.len());
        list.iter().fold(self, |fields, text| fields.text(text.as_ref()))
    }

    /// Adds a list of numbers, in its order.
    #[must_use]
    pub fn numbers(mut self, list: &[i16]) -> Self {
        self.length(list.len());
        list.iter().fold(self, |fields, number| fields.number((*number).into()))
    }

    /// The bytes of all fields.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn length(&mut self, length: usize) {
        // usize has 64 bits at most.
        self.0.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
    }
}

/// The keys of row MACs: one makes them; those of other master keys only verify. The type cannot be printed.
#[derive(Clone)]
pub struct RowKeys {
    current: hmac::Key,
    others: Vec<hmac::Key>,
}

impl RowKeys {
    /// MACs are made under `master`; those made under `others` verify, too.
    #[must_use]
    pub fn new<'a>(master: &MasterKey, others: impl IntoIterator<Item = &'a MasterKey>) -> Self {
        Self::labelled(ROW_LABEL, master, others)
    }

    pub(super) fn labelled<'a>(
        label: &[u8],
        master: &MasterKey,
        others: impl IntoIterator<Item = &'a MasterKey>,
    ) -> Self {
        let key = |master: &MasterKey| master.derive(label);
        Self { current: key(master), others: others.into_iter().map(key).collect() }
    }

    /// The MAC of a row.
    #[must_use]
    pub fn mac(&self, fields: &RowFields) -> Vec<u8> {
        hmac::sign(&self.current, fields.as_bytes()).as_ref().to_vec()
    }

    /// The MAC of a row that has a good one under another of the keys; `None` if it has a MAC under the first, or none
    /// that is good.
    #[must_use]
    pub fn remade(&self, fields: &RowFields, mac: &[u8]) -> Option<Vec<u8>> {
        let is_current = hmac::verify(&self.current, fields.as_bytes(), mac).is_ok();
        (!is_current && self.fits(fields, mac)).then(|| self.mac(fields))
    }

    /// Returns whether a MAC is that of a row, under any of the keys.
    #[must_use]
    pub fn fits(&self, fields: &RowFields, mac: &[u8]) -> bool {
        let mut keys = std::iter::once(&self.current).chain(&self.others);
        keys.any(|key| hmac::verify(key, fields.as_bytes(), mac).is_ok())
    }
}

impl fmt::Debug for RowKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowKeys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(byte: &str) -> Option<MasterKey> {
        MasterKey::parse(&byte.repeat(32)).ok()
    }

    #[test]
    fn rows_that_differ_have_other_bytes() {
        let rows = [
            RowFields::of("a").text("bc").text(""),
            RowFields::of("ab").text("c").text(""),
            RowFields::of("a").text("b").text("c"),
            RowFields::of("a").list(&["b", "c"]),
            RowFields::of("a").list(&["bc"]),
            RowFields::of("a").list(&["c", "b"]),
            RowFields::of("a").optional(None),
            RowFields::of("a").optional(Some(b"")),
            RowFields::of("a").number(1),
            RowFields::of("a").optional_number(Some(1)),
            RowFields::of("a").numbers(&[1]),
            RowFields::of("a").numbers(&[1, 1]),
        ];
        for (place, row) in rows.iter().enumerate() {
            assert!(rows.iter().skip(place.saturating_add(1)).all(|other| other != row), "{place}");
        }
    }

    #[test]
    fn a_mac_fits_its_row_alone_under_its_master_key_alone() {
        let (Some(one), Some(two)) = (master("01"), master("02")) else { unreachable!("master keys") };
        let row = RowFields::of("client").text("a");
        let keys = RowKeys::new(&one, []);
        let mac = keys.mac(&row);
        assert_eq!(mac.len(), ROW_MAC_BYTES);
        assert!(keys.fits(&row, &mac));
        assert!(!keys.fits(&RowFields::of("client").text("b"), &mac));
        assert!(!keys.fits(&row, &[]) && !keys.fits(&row, mac.get(1..).unwrap_or_default()));
        assert!(!RowKeys::new(&two, []).fits(&row, &mac));
        let moved = RowKeys::new(&two, [&one]);
        assert!(moved.fits(&row, &mac) && !keys.fits(&row, &moved.mac(&row)));
        assert_eq!(moved.remade(&row, &mac), Some(moved.mac(&row)));
        assert_eq!(moved.remade(&row, &moved.mac(&row)), None, "it is under the new one");
        assert_eq!(moved.remade(&row, b"forged"), None);
    }
}
