//! The gateway's side: `Kind` and `Bridge` over the server, the desk and the client. Holds no protocol.

/// The kind `smtp`.
#[derive(Debug)]
pub struct Smtp;
