//! Bounds the memory that peers can make this process hold: incomplete messages, and answers that wait to be sent. Both
//! are counted for each connection, and for all of them together.

mod account;
mod budget;
mod held;

pub use account::{
    ARRIVES_WITHIN, ARRIVING_BYTES_MAX, HELD_BYTES_MAX, Memory, STRANGER_ARRIVING_BYTES_MAX,
    STRANGER_CALLS_MAX, STRANGER_CALLS_PER_CONNECTION_MAX, STRANGERS_HELD_BYTES_MAX, WAITING_BYTES_MAX,
};
pub(super) use account::{Account, Side};
pub use budget::Full;
pub use held::{Held, IsCounted, StrangerCall};
