//! Names and pictures of users.

use serde_json::json;

use super::{CallFault, Client, MediaRef};
use crate::{ids::UserId, wire::text};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) name: Option<String>,
    pub(crate) picture: Option<MediaRef>,
}

impl Client {
    /// A user whom nobody knows has an empty profile.
    pub(crate) async fn profile(&self, user: &UserId) -> Result<Profile, CallFault> {
        match self.get(self.url(&["_matrix", "client", "v3", "profile", user.as_str()])).await {
            Ok(answer) => Ok(Profile {
                name: text(&answer, &["displayname"]).map(str::to_owned),
                picture: text(&answer, &["avatar_url"]).and_then(MediaRef::parse),
            }),
            Err(CallFault::Refused { status: 403 | 404, .. }) => Ok(Profile::default()),
            Err(fault) => Err(fault),
        }
    }

    pub(crate) async fn set_name(&self, user: &UserId, name: &str) -> Result<(), CallFault> {
        let url = self.url(&["_matrix", "client", "v3", "profile", user.as_str(), "displayname"]);
        self.put(url, &json!({ "displayname": name })).await.map(drop)
    }

    pub(crate) async fn set_picture(&self, user: &UserId, picture: &MediaRef) -> Result<(), CallFault> {
        let url = self.url(&["_matrix", "client", "v3", "profile", user.as_str(), "avatar_url"]);
        self.put(url, &json!({ "avatar_url": picture.to_string() })).await.map(drop)
    }
}
