//! What differs at one inbox, as lines for a person, and how it is put right.

use std::path::PathBuf;

use super::{
    super::{
        address::{same, shown},
        report::visible,
    },
    Trouble, file,
    find::Found,
};
use crate::chatwoot::{Client, Inbox, InboxChange};

/// What is to be done at one inbox.
#[derive(Debug)]
pub struct Plan {
    pub(super) name: String,
    /// Where it is, for people.
    pub(super) place: String,
    /// Its callback address as it should be.
    pub(super) url: String,
    pub(super) client: Client,
    pub(super) found: Found,
    pub(super) secret: SecretFile,
    /// Who shall see the inbox and does not.
    pub(super) members: Vec<Member>,
}

/// Which file the secret goes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SecretFile {
    /// The settings name none.
    None,
    Right,
    New(PathBuf),
    Changes(PathBuf),
    /// The settings hold another secret themselves.
    WrittenOut,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: i64,
    pub(super) email: String,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    /// The number that Chatwoot gave the inbox.
    pub inbox_id: u64,
}

/// A secret in the settings themselves cannot be changed from here.
const WRITTEN_OUT: &str = "`callback_secret` in the settings is not the inbox's: leave it out while the token is an administrator's, or name \
     a file by `callback_secret_file` instead";

impl Plan {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The inbox, and below it a line for each thing that goes and that comes.
    pub fn difference(&self) -> String {
        let which = match &self.found {
            Found::Here(inbox) => format!("inbox {} {:?}", inbox.id, inbox.name.as_deref().unwrap_or_default()),
            Found::Nowhere => "no such inbox yet".to_owned(),
        };
        let lines = self.lines();
        let lines = if lines.is_empty() { "  no difference\n".to_owned() } else { lines.concat() };
        format!("inbox {} ({}, {}):\n{lines}", self.name, self.place, visible(&which))
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.found {
            Found::Nowhere => {
                lines.push(format!("+ API inbox         {:?}\n", self.name));
                lines.push(format!("+ callback address  {}\n", shown(&self.url)));
            }
            Found::Here(inbox) if !self.calls_us(inbox) => {
                let old = inbox.webhook_url.as_deref().filter(|old| !old.is_empty()).map(shown);
                lines.extend(old.map(|old| format!("- callback address  {old}\n")));
                lines.push(format!("+ callback address  {}\n", shown(&self.url)));
            }
            Found::Here(_) => {}
        }
        match &self.secret {
            SecretFile::None | SecretFile::Right => {}
            SecretFile::New(file) => lines.push(format!("+ secret file       {}\n", file.display())),
            SecretFile::Changes(file) => {
                lines.push(format!("- secret file       {} (another secret)\n", file.display()));
                lines.push(format!("+ secret file       {} (the inbox's)\n", file.display()));
            }
            SecretFile::WrittenOut => lines.push(format!("! secret            {WRITTEN_OUT}\n")),
        }
        lines.extend(self.members.iter().map(|member| format!("+ agent             {}\n", visible(&member.email))));
        lines
    }

    fn calls_us(&self, inbox: &Inbox) -> bool {
        inbox.webhook_url.as_deref().is_some_and(|theirs| same(theirs, &self.url))
    }

    /// Changes what differs, and says each thing that is done.
    pub async fn carry_out(self, say: &mut dyn FnMut(&str)) -> Result<Done, Trouble> {
        let inbox = self.inbox_put_right(say).await?;
        self.secret_kept(&inbox, say)?;
        self.members_added(&inbox, say).await?;
        if self.secret == SecretFile::WrittenOut {
            return Err(Trouble::Failed(WRITTEN_OUT.to_owned()));
        }
        Ok(Done { inbox_id: inbox.id.0 as u64 })
    }

    async fn inbox_put_right(&self, say: &mut dyn FnMut(&str)) -> Result<Inbox, Trouble> {
        let change = InboxChange { webhook_url: Some(self.url.clone()), ..InboxChange::default() };
        match &self.found {
            Found::Here(inbox) if self.calls_us(inbox) => Ok(inbox.clone()),
            Found::Here(inbox) => {
                let inbox = self.client.update_inbox(inbox.id, &change).await?;
                say(&format!("its callback address is {} now", shown(&self.url)));
                Ok(inbox)
            }
            Found::Nowhere => {
                let new = InboxChange { name: Some(self.name.clone()), ..change };
                let inbox = self.client.create_inbox(&new).await?;
                say(&format!("made as number {}", inbox.id));
                Ok(inbox)
            }
        }
    }

    fn secret_kept(&self, inbox: &Inbox, say: &mut dyn FnMut(&str)) -> Result<(), Trouble> {
        let (SecretFile::New(file) | SecretFile::Changes(file)) = &self.secret else { return Ok(()) };
        let shown = file.display();
        let Some(secret) = &inbox.secret else {
            let reason =
                "the inbox shows no secret: Chatwoot before 4.13 signs nothing; set `callback_path_token` instead";
            return Err(Trouble::Failed(reason.to_owned()));
        };
        file::keep(file, secret).map_err(|error| Trouble::Failed(format!("{shown} cannot be written: {error}")))?;
        say(&format!("its secret is in {shown} now; a gateway that runs reads it at SIGHUP"));
        Ok(())
    }

    async fn members_added(&self, inbox: &Inbox, say: &mut dyn FnMut(&str)) -> Result<(), Trouble> {
        if self.members.is_empty() {
            return Ok(());
        }
        let already = self.client.inbox_members(inbox.id).await?;
        let all: Vec<i64> = already.iter().map(|member| member.id).chain(self.members.iter().map(|it| it.id)).collect();
        self.client.set_inbox_members(inbox.id, &all).await?;
        for member in &self.members {
            say(&format!("{} sees it now", visible(&member.email)));
        }
        Ok(())
    }
}
