//! Revoke: `behaviour.md` K1 to K7, K9, K10.
