//! Refresh: `behaviour.md` R1 to R9.
