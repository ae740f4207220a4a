//! What a network reports and what agents see of it: order, files, changes and signs.

use bridge_api::Inbound;

use crate::world::{World, message};

fn at(event: Inbound, at_millis: i64) -> Inbound {
    Inbound { at_millis, ..event }
}

#[tokio::test]
async fn what_a_network_hands_over_out_of_order_is_put_in_order_while_it_waits() {
    let world = World::new().await;
    let now = deskbridge::clock::now_millis();
    let events = vec![
        at(message("ada", "3", "third"), now),
        at(message("ada", "1", "first"), now - 60_000),
        // Their clock is far off: it counts as now, and stands where it came in.
        at(message("ada", "4", "from the future"), now + 10 * 365 * 86_400_000),
        at(message("ada", "2", "second"), now - 30_000),
    ];
    world.network.host().await.accept(events, Vec::new()).await.unwrap();
    assert_eq!(world.wait_for_incoming(1, 4).await, ["first", "second", "third", "from the future"]);
}
