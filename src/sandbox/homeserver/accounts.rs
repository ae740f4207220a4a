//! Accounts: who exists, who has which token, and what they are called.

use serde_json::{Value, json};

use super::errors::MatrixError;
use super::house::{Access, House, User};

impl House {
    /// A person with a password. One that exists already keeps everything else.
    pub(super) fn create_user(&mut self, localpart: &str, displayname: Option<&str>, password: Option<&str>) -> String {
        let id = self.user_id(localpart);
        let user = self.users.entry(id.clone()).or_insert_with(|| User {
            displayname: Some(displayname.unwrap_or(localpart).to_owned()),
            ..User::default()
        });
        if let Some(password) = password {
            user.password = Some(password.to_owned());
        }
        id
    }

    /// A new device with a token of its own.
    pub(super) fn new_token(&mut self, user: &str, device: Option<&str>) -> (String, String) {
        let device = device.map_or_else(|| self.letters(10).to_uppercase(), ToOwned::to_owned);
        let token = format!("syt_{}", self.opaque(32));
        self.tokens.retain(|_, access| access.user != user || access.device != device);
        self.tokens.insert(token.clone(), Access { user: user.to_owned(), device: device.clone() });
        (token, device)
    }

    pub(super) fn login(&mut self, body: &Value) -> Result<Value, MatrixError> {
        if body["type"] != "m.login.password" {
            return Err(MatrixError::bad("M_UNKNOWN", "Unknown login type"));
        }
        let named = body["identifier"]["user"].as_str().or_else(|| body["user"].as_str());
        let named = named.ok_or_else(|| MatrixError::bad("M_MISSING_PARAM", "Missing param: user"))?;
        let id = if named.starts_with('@') { named.to_owned() } else { self.user_id(named) };
        let password = body["password"].as_str();
        let known = self.users.get(&id).and_then(|user| user.password.as_deref());
        if known.is_none() || known != password {
            return Err(MatrixError::forbidden("Invalid username or password"));
        }
        let (token, device) = self.new_token(&id, body["device_id"].as_str());
        Ok(json!({
            "user_id": id, "access_token": token, "device_id": device, "home_server": self.settings.server_name,
        }))
    }

    /// `/register` of an appservice.
    pub(super) fn register(&mut self, body: &Value, by_appservice: bool) -> Result<Value, MatrixError> {
        if body["type"] != "m.login.application_service" {
            return Err(MatrixError::forbidden(
                "Registration has been disabled. Only m.login.application_service registrations are allowed.",
            ));
        }
        if !by_appservice {
            return Err(MatrixError::unknown_token());
        }
        let localpart = body["username"].as_str();
        let localpart = localpart.ok_or_else(|| MatrixError::bad("M_MISSING_PARAM", "Missing param: username"))?;
        let id = self.user_id(localpart);
        if !self.settings.owns(&id) {
            let text = "Invalid user localpart for this application service.";
            return Err(MatrixError::bad("M_EXCLUSIVE", text));
        }
        if self.settings.msc4190 && body["inhibit_login"] != true {
            let text = "Application service cannot log in by /register; set inhibit_login";
            return Err(MatrixError::bad("M_APPSERVICE_LOGIN_UNSUPPORTED", text));
        }
        if self.users.contains_key(&id) {
            return Err(MatrixError::bad("M_USER_IN_USE", "User ID already taken."));
        }
        self.create_user(localpart, None, None);
        let mut answer = json!({"user_id": id, "home_server": self.settings.server_name});
        if body["inhibit_login"] != true {
            let (token, device) = self.new_token(&id, body["device_id"].as_str());
            answer["access_token"] = json!(token);
            answer["device_id"] = json!(device);
        }
        Ok(answer)
    }

    pub(super) fn profile(&self, user: &str) -> Result<&User, MatrixError> {
        self.users.get(user).ok_or_else(|| MatrixError::missing("Profile was not found"))
    }

    /// Sets `displayname` or `avatar_url`; each room that the user is in gets a member event about it.
    pub(super) fn set_profile(&mut self, user: &str, field: &str, value: Option<String>) -> Result<(), MatrixError> {
        let profile = self.users.get_mut(user).ok_or_else(|| MatrixError::missing("Profile was not found"))?;
        let value = value.filter(|text| !text.is_empty());
        let place = match field {
            "displayname" => &mut profile.displayname,
            "avatar_url" => &mut profile.avatar_url,
            _ => return Err(MatrixError::unrecognised(axum::http::StatusCode::NOT_FOUND)),
        };
        *place = value;
        let rooms: Vec<String> =
            self.rooms.values().filter(|room| room.is_joined(user)).map(|room| room.id.clone()).collect();
        for room in rooms {
            self.member(&room, user, user, "join", &json!({}))?;
        }
        Ok(())
    }
}
