//! Makes or repairs an API inbox: its callback address, the file of its secret, who sees it. First the difference is
//! looked for, which changes nothing; then it is carried out. Done twice, the second time finds none.

mod file;
mod find;
mod plan;

use std::path::Path;

use self::{
    find::Found,
    plan::{Member, SecretFile},
};
use super::{address::wanted, advice::of_fault};
use crate::{
    chatwoot::{AccountId, CallFault, Client, Inbox},
    gateway::client_of,
    settings::{self, Draft},
};

pub use file::replace;
pub use plan::{Done, Plan};

/// Why it cannot be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// By what the settings say, or leave out.
    Settings(String),
    Failed(String),
}

impl From<CallFault> for Trouble {
    fn from(fault: CallFault) -> Self {
        let words = of_fault(&fault);
        Self::Failed(format!("{}; {}", words.found, words.change))
    }
}

/// Looks for what differs at one inbox of the settings. `agents` are mail addresses.
pub async fn look(draft: &Draft, name: &str, agents: &[String]) -> Result<Plan, Trouble> {
    let (inbox, gaps) = (&draft.settings.inboxes[name], &draft.inboxes[name]);
    let Some(public_url) = &draft.settings.gateway.public_url else {
        let reason = "set `gateway.public_url` to how Chatwoot reaches the gateway, such as http://deskbridge:8600";
        return Err(Trouble::Settings(reason.to_owned()));
    };
    let url = wanted(public_url, name, inbox);
    let client = Client::new(client_of(inbox)).map_err(|fault| Trouble::Settings(fault.to_string()))?;
    administrator(&client, inbox).await?;
    let found = find::find(&client, gaps.inbox_id, name, &url).await?;
    let secret = secret(&found, inbox, gaps.secret_file.as_deref())?;
    let members = members(&client, &found, agents).await?;
    Ok(Plan { name: name.to_owned(), place: place(inbox), url, client, found, secret, members })
}

fn place(inbox: &settings::Inbox) -> String {
    format!("{} account {}", inbox.url, inbox.account_id)
}

async fn administrator(client: &Client, inbox: &settings::Inbox) -> Result<(), Trouble> {
    let (profile, account) = (client.profile().await?, AccountId(inbox.account_id as i64));
    let owner = profile.name.as_deref().unwrap_or("nobody");
    match profile.accounts.iter().find(|member| member.id == account).map(|member| member.role.as_deref()) {
        Some(Some("administrator")) => Ok(()),
        Some(_) => Err(Trouble::Failed(format!(
            "the token is that of {owner}, who is no administrator of account {account} and may not change inboxes: put an \
             administrator's into `api_access_token` for this command"
        ))),
        None => Err(Trouble::Failed(format!(
            "the token is that of {owner}, who is not in account {account}: correct `account_id`"
        ))),
    }
}

/// Which file has to change, if any.
fn secret(found: &Found, inbox: &settings::Inbox, file: Option<&Path>) -> Result<SecretFile, Trouble> {
    let theirs = match found {
        Found::Here(here) => here.secret.as_ref(),
        Found::Nowhere => None,
    };
    match (file, &inbox.callback_secret, theirs) {
        (Some(file), _, Some(theirs)) => {
            let file = file.to_owned();
            Ok(match file::holds(&file, theirs) {
                file::Holds::This => SecretFile::Right,
                file::Holds::Another => SecretFile::Changes(file),
                file::Holds::Nothing => SecretFile::New(file),
            })
        }
        (Some(file), _, None) if matches!(found, Found::Nowhere) => Ok(SecretFile::New(file.to_owned())),
        (Some(_), _, None) => Err(Trouble::Failed(
            "the inbox shows no secret: Chatwoot before 4.13 signs nothing; set `callback_path_token` in the place of `callback_secret_file`"
                .to_owned(),
        )),
        (None, Some(ours), Some(theirs)) if ours.expose() != theirs.expose() => Ok(SecretFile::WrittenOut),
        (None, ..) => Ok(SecretFile::None),
    }
}

/// The agents who are to see the inbox and do not.
async fn members(client: &Client, found: &Found, agents: &[String]) -> Result<Vec<Member>, Trouble> {
    if agents.is_empty() {
        return Ok(Vec::new());
    }
    let known = client.agents().await?;
    let already = match found {
        Found::Here(Inbox { id, .. }) => client.inbox_members(*id).await?,
        Found::Nowhere => Vec::new(),
    };
    let mut missing = Vec::new();
    for email in agents.iter().map(|email| email.trim()) {
        let Some(agent) = known.iter().find(|agent| agent.email.eq_ignore_ascii_case(email)) else {
            return Err(Trouble::Failed(format!("nobody in the account has the address {email:?}: invite them first")));
        };
        if !already.iter().any(|member| member.id == agent.id) {
            missing.push(Member { id: agent.id, email: email.to_owned() });
        }
    }
    Ok(missing)
}
