//! Names that nobody can guess and everybody may see: in reply addresses, Message-IDs and envelope senders.
