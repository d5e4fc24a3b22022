//! What the programs that measure have in common: how sandboxes are started, how numbers are summed up and shown.
//!
//! Nothing here judges. How slow is too slow depends on the machine and on the day.

pub mod arguments;
pub mod json;
pub mod launchers;
pub mod namespaces;
pub mod order;
pub mod process;
pub mod statistics;
pub mod table;
