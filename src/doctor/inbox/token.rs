//! Whose token it is, and whether that is enough and not too much.

use super::Look;
use crate::chatwoot::{AccountId, Profile, ProfileAccount};

/// What the token's owner is in the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Administrator,
    Agent,
}

impl Look<'_> {
    /// `None` when nothing can be asked with it.
    pub(super) async fn token(&self) -> Option<Role> {
        let tried = "use the token: GET /api/v1/profile";
        let profile = match self.client.profile().await {
            Ok(profile) => profile,
            Err(fault) => {
                self.fault(tried, &fault);
                return None;
            }
        };
        let account = AccountId(self.inbox.account_id as i64);
        let Some(member) = profile.accounts.iter().find(|member| member.id == account) else {
            let change = "set `account_id` to one of these, or invite the token's owner into the account";
            self.findings.failed(tried, elsewhere(&profile, account), change);
            return None;
        };
        let (role, word) = role(member);
        let owner = profile.name.as_deref().unwrap_or("nobody");
        let place = member.name.as_deref().unwrap_or("without a name");
        let found = format!("it is {owner}'s, {word} in account {account} ({place})");
        if let Some(status) = member.status.as_deref().filter(|status| *status != "active") {
            self.findings.failed(tried, format!("{found}, which is {status}"), "have the account made active again");
            return None;
        }
        match role {
            Role::Agent => self.findings.fine(tried, found),
            Role::Administrator => self.findings.warning(tried, found, self.lesser_token()),
        }
        Some(role)
    }

    /// What an administrator's token is needed for, and how it can be done without.
    fn lesser_token(&self) -> String {
        let then = "use that of an agent who is a member of the inbox";
        if self.inbox.callback_secret.is_some() || self.inbox.callback_path_token.is_some() {
            return format!("an agent's token is enough: {then}");
        }
        format!(
            "an agent's token is enough when the secret is in a file: let `callback_secret_file` name one, run `deskbridge \
             provision` once with this token, and then {then}"
        )
    }
}

/// A role of another name is one that an enterprise made: it is judged by what it may do, as an agent is.
fn role(member: &ProfileAccount) -> (Role, &str) {
    match member.role.as_deref() {
        Some("administrator") => (Role::Administrator, "an administrator"),
        Some("agent") => (Role::Agent, "an agent"),
        Some(_) | None => (Role::Agent, "a member"),
    }
}

fn elsewhere(profile: &Profile, account: AccountId) -> String {
    let name =
        |member: &ProfileAccount| format!("{} ({})", member.id, member.name.as_deref().unwrap_or("without a name"));
    let others: Vec<_> = profile.accounts.iter().map(name).collect();
    let others = if others.is_empty() { "no account".to_owned() } else { others.join(", ") };
    let owner = profile.name.as_deref().unwrap_or("nobody");
    format!("it is {owner}'s, who is not in account {account} but in {others}")
}
