//! The picture of a contact: fetched from its network and given to the inbox.

use std::sync::Arc;

use bridge_api::{Attachment, Bridge, Fault, Holder};

use super::files::{media_type, read};
use crate::{
    chatwoot::{AVATAR_BYTES_MAX, AVATAR_TYPES, CallFault, Client, ContactId, Upload, safe_name},
    clock::Clock,
};

/// Fetches it and shows it. Only a fault of the kinds that surely did nothing is worth another try.
pub(super) async fn show(
    client: &Client,
    bridge: &Arc<dyn Bridge>,
    contact: ContactId,
    picture: &Attachment,
    clock: Clock,
) -> Result<(), Fault> {
    if picture.holder != Holder::Network || picture.size_bytes.is_some_and(|bytes| bytes > AVATAR_BYTES_MAX) {
        return Err(Fault::refused("it is not a small file of the network's"));
    }
    let place = client.upload_place().await;
    let file = bridge.open(picture).await?;
    let media_type = media_type([file.media_type.as_deref(), picture.media_type.as_deref()]);
    if !AVATAR_TYPES.contains(&media_type.as_str()) {
        return Err(Fault::refused(format!("{media_type} is no kind of picture that the inbox shows")));
    }
    let bytes = read(file, AVATAR_BYTES_MAX).await?;
    match client.set_avatar(contact, Upload::whole(safe_name(&picture.name), media_type, bytes), place).await {
        Ok(()) => Ok(()),
        // The contact was deleted or merged: there will be another with the next message.
        Err(fault @ CallFault::NotFound { .. }) => Err(Fault::refused(fault.to_string())),
        Err(fault) => Err(fault.into_fault(clock.of_day())),
    }
}
