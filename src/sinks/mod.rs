//! Where effects happen.
