//! The key of reply addresses as the store has it: made once, by whoever runs the bridge, and read wherever mails come in.

use bridge_api::{AcceptError, Cursor, Fault, Host};

use crate::token::TokenKey;

/// Its cursor.
const KEY: &str = "key";

/// The one that everything was signed with; made now, where there is none. For nobody but who runs the bridge.
pub(crate) async fn made(host: &Host) -> Result<TokenKey, Fault> {
    let unusable = |error: AcceptError| Fault::down(format!("the store cannot be used: {error}"));
    if let Some(text) = kept(host).await.map_err(unusable)? {
        return TokenKey::from_hex(&text).ok_or_else(|| Fault::down("the key of reply addresses cannot be read"));
    }
    let key = TokenKey::new();
    host.save_cursors(vec![Cursor::set(KEY, key.to_hex())]).await.map_err(unusable)?;
    Ok(key)
}

/// `None` where it was not made yet, so that nothing is signed.
pub(crate) async fn found(host: &Host) -> Result<Option<TokenKey>, AcceptError> {
    Ok(kept(host).await?.as_deref().and_then(TokenKey::from_hex))
}

async fn kept(host: &Host) -> Result<Option<String>, AcceptError> {
    let found = host.cursors(KEY).await?;
    Ok(found.into_iter().find(|cursor| cursor.name == KEY).and_then(|cursor| cursor.value))
}
