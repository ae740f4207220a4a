//! Whether a mail is let in at all: asked when all of it has come, before it is kept and acknowledged, so that whoever is
//! not let in hears it from us at once and nothing is lost in silence.

use std::sync::OnceLock;

use bridge_api::{AcceptError, Admission, Caller, Host};

use crate::{
    address::Address,
    envelope::Envelope,
    keyring, mail,
    settings::Settings,
    threads::{Memory, claims},
    token::TokenKey,
};

/// Names of a mail's earlier ones that are looked up.
const TOKENS_MAX: usize = 20;
/// To whom it may be welcome later: their server keeps it, and comes again.
const LATER: &str = "451 4.7.1 too many new conversations for now, try again later";
const NEVER: &str = "550 5.7.1 mail from this sender is not taken here";

pub(crate) struct Porter {
    /// Once it is there.
    key: OnceLock<TokenKey>,
    hostname: String,
    separator: char,
}

impl Porter {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { key: OnceLock::new(), hostname: settings.hostname.clone(), separator: settings.separator }
    }

    /// What the client is answered where the mail is not let in. `head` is the mail at least as far as its head goes;
    /// `counted`: the client is a stranger's, whose senders are counted one by one.
    pub(super) async fn turns_away(
        &self,
        host: &Host,
        (envelope, head): (&Envelope, &[u8]),
        counted: bool,
    ) -> Result<Option<&'static str>, AcceptError> {
        let mail = mail::read_head(head);
        let mut people: Vec<&Address> = mail.from.iter().filter_map(|one| one.address.as_ref()).collect();
        people.extend(envelope.sender.as_ref());
        let mut names: Vec<String> = people.iter().map(|address| address.folded()).collect();
        names.dedup();
        let counted_as = names.first().cloned().filter(|_| counted);
        names.push(envelope.client.to_canonical().to_string());
        let begins = !self.goes_on(host, envelope, &mail, &people).await?;
        Ok(match host.admit(&Caller { names, counted_as }, begins) {
            Admission::Welcome => None,
            Admission::Later => Some(LATER),
            Admission::Never => Some(NEVER),
        })
    }

    /// Whether it belongs to a conversation that there is: a name of ours in it that nobody can guess says so, and its
    /// author is one of those who are in it. A bounce bears such a name and needs no author.
    async fn goes_on(
        &self,
        host: &Host,
        envelope: &Envelope,
        mail: &mail::Mail,
        people: &[&Address],
    ) -> Result<bool, AcceptError> {
        // Nothing bears a name of ours before there is a key to make one.
        let Some(key) = self.key(host).await? else { return Ok(false) };
        let detail = |address: &Address| address.split_detail(self.separator).1.map(str::to_owned);
        let details: Vec<String> = envelope.recipients.iter().filter_map(detail).collect();
        let memory = Memory::new(host);
        for token in claims(mail, &details, &self.hostname).tokens.iter().take(TOKENS_MAX) {
            let Some(id) = memory.thread_of_token(key, token).await? else { continue };
            let thread = memory.thread(&id).await?;
            if envelope.sender.is_none() || thread.is_some_and(|thread| people.iter().any(|one| thread.has(one))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn key(&self, host: &Host) -> Result<Option<&TokenKey>, AcceptError> {
        if let Some(key) = self.key.get() {
            return Ok(Some(key));
        }
        Ok(keyring::found(host).await?.map(|key| self.key.get_or_init(|| key)))
    }
}

impl std::fmt::Debug for Porter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Porter").finish_non_exhaustive()
    }
}
