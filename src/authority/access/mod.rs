//! Who calls, and how much: credentials, lease check, rates, quotas.

pub(in crate::authority) mod assertion;
pub(in crate::authority) mod caller;
pub(in crate::authority) mod known_keys;
pub(in crate::authority) mod lease_check;
pub(in crate::authority) mod presence;
pub(in crate::authority) mod quota;
pub(in crate::authority) mod rates;
