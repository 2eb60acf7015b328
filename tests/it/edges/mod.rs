//! The same request by every edge: E21.

mod calls;
mod overloaded;
mod refused;
