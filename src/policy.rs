//! What next after a fault. Pure.
