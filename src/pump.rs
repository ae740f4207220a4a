//! Takes due heads, runs attempts, settles.
