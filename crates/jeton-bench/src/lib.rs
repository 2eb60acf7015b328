//! Plans for a load, computed from the figures that the benches beside this library measured: `benches/suite` (speed as
//! ratios to floors of the same run) and `benches/instructions` (counted instructions). They are no part of jeton.

pub mod capacity;
