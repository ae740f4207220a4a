//! How far the sender of a mail is proved.
