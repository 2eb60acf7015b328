//! argv to one verb.

fn main() {}
