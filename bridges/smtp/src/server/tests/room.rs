//! What a client hears when there is no room, and that it hears otherwise once there is some again.

use super::*;

const NO_ROOM: &str = "452 4.3.1 ";
const MAIL: &str = "MAIL FROM:<a@c.test>\r\n";

/// What is answered to MAIL now, over a new connection.
async fn mail(running: &Running, parameters: &str) -> String {
    let mut tcp = connect(running.addresses[0]).await;
    say(&mut tcp, "EHLO c.test\r\n", "CHUNKING\r\n").await;
    say(&mut tcp, &format!("MAIL FROM:<a@c.test>{parameters}\r\n"), "\r\n").await
}

#[tokio::test]
async fn a_low_disk_puts_mails_off_before_they_come() {
    let running = start(&[], TIMING);
    let mib = 1024 * 1024;
    for (free_mib, parameters, expected) in [
        (0, "", NO_ROOM),
        (127, "", NO_ROOM),
        (128, "", "250 "),
        (128, " SIZE=36700160", "250 "),
        (0, " SIZE=1", NO_ROOM),
        (1024, " SIZE=36700160", "250 "),
    ] {
        running.host.recorded().free_bytes = Some(free_mib * mib);
        let reply = mail(&running, parameters).await;
        assert!(reply.starts_with(expected), "{free_mib} {parameters}: {reply}");
    }
    running.host.recorded().free_bytes = None;
    assert!(mail(&running, "").await.starts_with("250 "));
}

#[tokio::test]
async fn a_mail_needs_twice_its_size_on_the_disk() {
    let running = start(&[("mail_mib_max", 100.into())], TIMING);
    let size = 100 * 1024 * 1024;
    for (free, expected) in [(2 * size - 1, NO_ROOM), (2 * size, "250 ")] {
        running.host.recorded().free_bytes = Some(free);
        let reply = mail(&running, &format!(" SIZE={size}")).await;
        assert!(reply.starts_with(expected), "{free}: {reply}");
    }
}

#[tokio::test]
async fn a_full_spool_puts_mails_off_until_the_desk_has_taken_some() {
    let running = start(&[("spool_max", 2.into())], TIMING);
    // One client, over one connection: it is put off, not shown out.
    let mut tcp = connect(running.addresses[0]).await;
    say(&mut tcp, "EHLO c.test\r\n", "CHUNKING\r\n").await;
    for _ in 0..2 {
        assert!(say(&mut tcp, MAIL, "\r\n").await.starts_with("250 "));
        let reply = say(&mut tcp, "RCPT TO:<support@acme.test>\r\nBDAT 3 LAST\r\nx\r\n", "kept as").await;
        assert!(reply.contains("250 2.0.0 kept as"), "{reply}");
    }
    assert_eq!((running.kept(), running.waiting()), (2, 2));
    assert!(mail(&running, "").await.starts_with(NO_ROOM));
    running.host.recorded().cursors.pop_first();
    let taken = async {
        while !mail(&running, "").await.starts_with("250 ") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, taken).await.expect("there is room again");
}

/// The room of one small mail, for all.
fn narrow() -> Running {
    let settings = settings(&[]);
    let mut server = Server::bind(&settings, TIMING).unwrap();
    server.memory_bytes = 32 * 1024;
    run(server, settings)
}

#[tokio::test]
async fn used_up_memory_puts_mails_off_before_they_come() {
    let running = narrow();
    let mut first = connect(running.addresses[0]).await;
    let reply = say(&mut first, &format!("{BEGIN}BDAT 3\r\nx\r\n"), "250 2.0.0").await;
    assert!(reply.contains("250 2.0.0 the chunk"), "{reply}");
    let reply = mail(&running, "").await;
    assert!(reply.starts_with(NO_ROOM), "{reply}");
    let reply = say(&mut first, "BDAT 3 LAST\r\ny\r\n", "\r\n").await;
    assert!(reply.starts_with("250 2.0.0 kept"), "{reply}");
    assert!(mail(&running, "").await.starts_with("250 "));
    assert_eq!(running.kept(), 1);
}

#[tokio::test]
async fn memory_that_is_used_up_in_the_middle_puts_a_mail_off_at_its_end() {
    let running = narrow();
    let (mut first, mut second) = (connect(running.addresses[0]).await, connect(running.addresses[0]).await);
    for tcp in [&mut first, &mut second] {
        assert!(say(tcp, BEGIN, "250 2.1.5").await.contains("250 2.1.0"));
    }
    assert!(say(&mut first, "BDAT 3\r\nx\r\n", "\r\n").await.starts_with("250"));
    assert!(say(&mut second, "BDAT 3 LAST\r\nz\r\n", "\r\n").await.starts_with(NO_ROOM));
    assert!(say(&mut first, "BDAT 3 LAST\r\ny\r\n", "\r\n").await.starts_with("250 2.0.0 kept"));
    assert!(say(&mut second, "MAIL FROM:<a@c.test>\r\n", "\r\n").await.starts_with("250"));
    assert_eq!((running.kept(), running.waiting()), (1, 1));
}

#[tokio::test]
async fn a_mail_that_could_not_be_stored_leaves_no_trace() {
    let running = start(&[], TIMING);
    let large = format!("X: y\r\n\r\n{}", "z\r\n".repeat(200_000));
    for (refuses, mail, expected, waiting) in [
        (true, "x\r\n", NO_ROOM, 0),
        (true, &*large, NO_ROOM, 0),
        (false, "x\r\n", "250 2.0.0", 1),
        (false, &*large, "250 2.0.0", 2),
    ] {
        running.host.recorded().refuses = refuses;
        let mut tcp = begin(running.addresses[0]).await;
        let reply = say(&mut tcp, &format!("{mail}.\r\n"), "\r\n").await;
        assert!(reply.starts_with(expected), "{refuses} {}: {reply}", mail.len());
        assert_eq!(running.waiting(), waiting, "{refuses} {}", mail.len());
    }
    assert_eq!((running.kept(), running.host.recorded().cursors.len()), (2, 2));
}
