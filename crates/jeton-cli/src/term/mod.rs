//! The terminal: what is read from it and written to it, and exit codes.

pub(crate) mod escape;
pub(crate) mod exit;
pub(crate) mod ids;
pub(crate) mod interrupt;
pub(crate) mod json;
pub(crate) mod json_text;
pub(crate) mod names;
pub(crate) mod output;
pub(crate) mod paste;
pub(crate) mod private_file;
pub(crate) mod quoted;
pub(crate) mod secrets;
pub(crate) mod tables;
pub(crate) mod time;
pub(crate) mod token_input;
