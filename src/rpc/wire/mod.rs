//! Messages of gRPC as they arrive and leave.

pub(in crate::rpc) mod arriving;
pub(in crate::rpc) mod blocks;
pub(in crate::rpc) mod open_call;
pub(in crate::rpc) mod unary;
