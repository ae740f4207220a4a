//! The durable side.
