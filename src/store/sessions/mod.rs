//! Sessions, and what each client may have.

pub(in crate::store) mod bare;
pub(in crate::store) mod refresh;
pub(in crate::store) mod session;
pub(in crate::store) mod several;
