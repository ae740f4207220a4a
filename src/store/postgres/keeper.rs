//! The one connection by which a process says that it lives. Who waits for it in vain gives it up with all that it has
//! under way, so that the next try begins anew and not behind what hangs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_postgres::Client;

use super::{
    fault::Failure,
    place::{Dialer, Role},
};

pub(super) struct Keeper {
    dialer: Dialer,
    kept: Mutex<Option<Client>>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Keeper {
    pub(super) fn new(dialer: Dialer) -> Self {
        Self { dialer, kept: Mutex::default() }
    }

    /// The connection that is kept, or a new one; and whether it is new.
    pub(super) async fn client(&self) -> Result<(Client, bool), Failure> {
        let kept = self.kept().take().filter(|client| !client.is_closed());
        match kept {
            Some(client) => Ok((client, false)),
            None => Ok((self.dialer.dial(Role::Keeper).await?, true)),
        }
    }

    /// For the next question.
    pub(super) fn keep(&self, client: Client) {
        *self.kept() = Some(client);
    }

    pub(super) fn close(&self) {
        self.kept().take();
    }

    fn kept(&self) -> MutexGuard<'_, Option<Client>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks by the connection that is kept, or by a new one, also where the kept one turns out to be gone.
macro_rules! ask {
    ($keeper:expr, $client:ident => $question:expr) => {{
        loop {
            let (mut client, is_new) = match $keeper.client().await {
                Ok(got) => got,
                Err(failure) => break Err(failure.reason()),
            };
            let $client = &mut client;
            match $question.await {
                Err($crate::store::postgres::fault::Failure::Lost(_)) if !is_new => {}
                Err(failure) => break Err(failure.reason()),
                Ok(answer) => {
                    $keeper.keep(client);
                    break Ok(answer);
                }
            }
        }
    }};
}
pub(super) use ask;
