//! How long a client may take for what. One table, so that tests can be in more of a hurry.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// For the next command, and the same when most of the connections are in use.
    pub(crate) command: Duration,
    pub(crate) command_when_crowded: Duration,
    /// Between two pieces of a mail.
    pub(crate) pause: Duration,
    /// For a whole mail.
    pub(crate) mail: Duration,
    /// From when on a mail has to come with at least [`BYTES_PER_SECOND_MIN`].
    pub(crate) slow_after: Duration,
    /// For a whole session. A mail that is on its way then may end.
    pub(crate) session: Duration,
    pub(crate) handshake: Duration,
    /// How long a look at the certificate's files is good for.
    pub(crate) certificate: Duration,
    /// For a client to take what is written to it.
    pub(crate) write: Duration,
    /// For a client to see our last words before the connection is gone.
    pub(crate) goodbye: Duration,
    /// For mails on their way when the server stops.
    pub(crate) stop: Duration,
}

pub(crate) const TIMING: Timing = Timing {
    command: Duration::from_mins(5),
    command_when_crowded: Duration::from_mins(1),
    pause: Duration::from_mins(3),
    mail: Duration::from_mins(10),
    slow_after: Duration::from_secs(30),
    session: Duration::from_mins(30),
    handshake: Duration::from_secs(30),
    certificate: Duration::from_secs(5),
    write: Duration::from_mins(1),
    goodbye: Duration::from_secs(2),
    stop: Duration::from_secs(30),
};

/// On average over a mail.
pub(crate) const BYTES_PER_SECOND_MIN: u64 = 1024;
