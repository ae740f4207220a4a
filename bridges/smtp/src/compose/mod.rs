//! Writes an agent's answer as a mail.
