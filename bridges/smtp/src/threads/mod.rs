//! Whose conversation a mail belongs to.
