//! The words as types.
