//! The order of work in memory. Pure.
