//! The measures, in groups that share costly data.

pub mod answer;
pub mod bulk;
pub mod busy;
pub mod disturbed;
pub mod large;
pub mod overload;
pub mod refresh;
pub mod revoke;
