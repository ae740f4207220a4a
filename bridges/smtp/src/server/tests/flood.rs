//! Many clients at once.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::*;

const CLIENTS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_mails_at_once_each_is_kept_once() {
    let running = start(&[("trusted_clients", serde_json::json!(["127.0.0.1"]))], TIMING);
    // All are here before the first mail ends.
    let clients = join_all((0..CLIENTS).map(|_| begin(running.addresses[0]))).await;
    let sending = clients.into_iter().enumerate().map(|(number, mut tcp)| async move {
        let reply = say(&mut tcp, &format!("{}\r\n.\r\n", mail(number)), "\r\n").await;
        let id = reply.trim_end().strip_prefix("250 2.0.0 kept as ").map(KeptId::from);
        (id.unwrap_or_else(|| panic!("{number}: {reply}")), format!("{}\r\n", mail(number)))
    });
    let confirmed = join_all(sending).await;
    assert_eq!(running.waiting(), CLIENTS);
    let recorded = running.host.recorded();
    assert_eq!((recorded.kept.len(), recorded.cursors.len()), (CLIENTS, CLIENTS));
    for (id, mail) in &confirmed {
        assert_eq!(recorded.kept[id], mail.as_bytes());
        assert!(recorded.cursors.contains_key(&format!("mail/{id}")));
    }
    let bodies: BTreeSet<_> = recorded.kept.values().collect();
    assert_eq!(bodies.len(), CLIENTS, "no mail stands for another");
}

/// Each fourth one is too large to be held in memory whole.
fn mail(number: usize) -> String {
    let lines = if number.is_multiple_of(4) { 3_000 } else { 3 };
    format!("X: {number}\r\n\r\n{}end", format!("{}\r\n", "z".repeat(98)).repeat(lines))
}
