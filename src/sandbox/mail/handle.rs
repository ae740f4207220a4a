//! What a test or a demonstration sees of the relay and does with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::client::{self, Handover, HandoverError, OutgoingMail};
use super::core::{Core, PostCounts};
use super::faults::MailFaults;
use super::mailbox::ReceivedMail;
use super::target::MailTarget;
use crate::sandbox::waiting;

/// The relay and its mailbox. Clones are the same one.
#[derive(Clone)]
pub struct Post {
    core: Arc<Core>,
}

impl Post {
    pub(in crate::sandbox) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Where the relay takes mail.
    pub fn address(&self) -> SocketAddr {
        self.core.address
    }

    /// Mails that are kept, oldest first.
    pub fn mails(&self) -> Vec<Arc<ReceivedMail>> {
        self.core.mails_after(0)
    }

    /// The mail of this number, counted from 1; None when it has not come or is forgotten.
    pub fn mail(&self, number: u64) -> Option<Arc<ReceivedMail>> {
        self.core.mail(number)
    }

    /// Waits for the mail of this number.
    pub async fn wait_for(&self, number: u64, deadline: Duration) -> Option<Arc<ReceivedMail>> {
        self.until(deadline, |post| post.mail(number)).await
    }

    /// Kept mails for this recipient, oldest first.
    pub fn mails_to(&self, address: &str) -> Vec<Arc<ReceivedMail>> {
        let mut mails = self.mails();
        mails.retain(|mail| mail.envelope.addresses().iter().any(|to| to.eq_ignore_ascii_case(address)));
        mails
    }

    /// Forgets every mail; numbers go on.
    pub fn forget_mails(&self) {
        self.core.forget_mails();
    }

    pub fn counts(&self) -> PostCounts {
        self.core.counts()
    }

    /// The newest command lines of all clients, oldest first; of `AUTH` only its mechanism.
    pub fn heard(&self) -> Vec<String> {
        self.core.heard()
    }

    pub fn faults(&self) -> &MailFaults {
        &self.core.faults
    }

    /// Stops listening and cuts every connection: the next connect is refused. Returns when that is so.
    pub async fn go_down(&self) {
        self.set_listening(false).await;
    }

    /// Listens again on the same address.
    pub async fn come_up(&self) {
        self.set_listening(true).await;
    }

    async fn set_listening(&self, on: bool) {
        let mut listening = self.core.listening.subscribe();
        self.core.wanted.send_replace(on);
        // The channel lives as long as this handle does.
        drop(listening.wait_for(|now| *now == on).await);
    }

    /// Where the page's mails go; None while nobody has said it.
    pub fn target(&self) -> Option<MailTarget> {
        self.core.target()
    }

    /// Sends the page's mails there from now on.
    pub fn set_target(&self, target: Option<MailTarget>) {
        self.core.set_target(target);
    }

    /// Whom the page writes to, unless the customer chooses somebody else.
    pub fn set_desk_address(&self, address: impl Into<String>) {
        self.core.set_desk_address(address.into());
    }

    /// Hands a mail to the server at this address, as a customer's own server would, and tells every answer.
    pub async fn send(&self, to: SocketAddr, mail: &OutgoingMail) -> Result<Handover, HandoverError> {
        client::hand_over(&to.into(), mail).await
    }

    /// Looks until `found` answers, after every change and at least every 20 ms. None when `deadline` passes first.
    pub async fn until<T>(&self, deadline: Duration, mut found: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        waiting::until(self.core.changed.subscribe(), deadline, || found(self)).await
    }
}
