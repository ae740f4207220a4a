//! Files, byte by byte.

use super::world::{Mode, World};
use crate::{
    http,
    peers::{as_proxy::Dialect, synapse::Synapse},
    wait::until,
};

/// A picture of one dot.
pub(super) const PICTURE: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0x1f, 0x15, 0xc4, 0x89, 0x00, 0x00, 0x00, 0x0d, 0x49,
    0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0xf8, 0xcf, 0xc0, 0xf0, 0x1f, 0x00, 0x05, 0x00, 0x01, 0xff, 0x89, 0x99, 0x3d,
    0x1d, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];
/// More than one buffer of anything.
const LARGE_BYTES: usize = 3 << 20;

#[test]
fn pictures_go_both_ways_unchanged() {
    for mode in [Mode::Appservice, Mode::Websocket(Dialect::Asmux), Mode::Sync] {
        let Some(world) = World::shared(mode) else { return };
        let mut carol = world.guest(Synapse::shared(), "Carol");
        carol_sends(&world, &mut carol, PICTURE, "crack.png");
        agent_sends(&world, &mut carol, PICTURE, "label.png");
    }
}

#[test]
fn a_large_file_arrives_whole_both_ways() {
    let Some(world) = World::shared(Mode::Appservice) else { return };
    let mut carol = world.guest(Synapse::shared(), "Carol");
    let mut bytes = PICTURE.to_vec();
    let mut rng = fastrand::Rng::with_seed(1);
    bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(LARGE_BYTES));
    carol_sends(&world, &mut carol, &bytes, "large.png");
    agent_sends(&world, &mut carol, &bytes, "larger.png");
}

fn carol_sends(world: &World, carol: &mut super::world::Guest, bytes: &[u8], name: &str) {
    let room = carol.room.clone();
    carol.customer.send_image(&room, bytes, name);
    let found = until("the picture at the inbox", || {
        let desk = world.sandbox.desk();
        let attachments: Vec<_> = desk.incoming().flat_map(|message| message.attachments.clone()).collect();
        attachments.last().cloned().ok_or_else(|| format!("{:?}", desk.conversations))
    });
    assert_eq!(found.content_type, "image/png");
    let arrived = http::bytes(&found.data_url).expect("the inbox serves it");
    assert!(arrived == bytes, "{} bytes of {}", arrived.len(), bytes.len());
}

fn agent_sends(world: &World, carol: &mut super::world::Guest, bytes: &[u8], name: &str) {
    let reply = world.sandbox.reply_with_file(carol.conversation, "as you wished", name, bytes);
    let (room, own) = (carol.room.clone(), carol.customer.user().to_owned());
    let image = carol.customer.wait_for("the picture in the room", |seen| {
        seen.room == room && seen.content()["msgtype"] == "m.image" && seen.sender() != own
    });
    let got = carol.customer.download(image.content()["url"].as_str().expect("an address"));
    assert!(got.bytes == bytes, "{} bytes of {}", got.bytes.len(), bytes.len());
    assert_eq!(got.mimetype, "image/png");
    carol.customer.wait_for("the text beside it", |seen| seen.room == room && seen.body().contains("as you wished"));
    world.sandbox.until_status(reply, "delivered");
}
