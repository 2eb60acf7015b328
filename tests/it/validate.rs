//! Validate: `behaviour.md` V1 to V11.
