//! The catalogue of refusals: E1. A test walks the enum.
