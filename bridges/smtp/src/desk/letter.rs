//! An agent's answer, addressed: whom it goes to, by which names it will be known again, and whether it may go at all.

use bridge_api::{AcceptError, Attachment, Fault, Host, Outbound};

use crate::{
    address::Address,
    client::Addressed,
    clock::now_millis,
    compose::{Letter, reply_subject},
    mail::{Mailbox, MessageId},
    settings::{Identity, Settings, Verify},
    threads::{Memory, SentMail, Thread},
    token::{Kind, TokenKey},
};

/// One automatic answer to a person in so long.
const AUTOMATIC_EVERY_MILLIS: i64 = 24 * 3600 * 1000;

/// What a letter is made of, beside the agent's words.
pub(crate) struct Desk<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) identity: &'a Identity,
    pub(crate) key: &'a TokenKey,
}

/// The letter and its envelope. Its names are remembered before it goes, so that a bounce finds it however this ends.
pub(crate) async fn letter(
    desk: &Desk<'_>,
    host: &Host,
    out: &Outbound,
    text: &str,
    attachments: &[Attachment],
) -> Result<(Letter, Addressed), Fault> {
    let mut memory = Memory::new(host);
    let thread = memory.thread(&out.thread).await.map_err(unreadable)?;
    let thread = thread.ok_or_else(|| {
        Fault::refused("it is no longer known whom this conversation is with: write to the person in a new one")
    })?;
    let by_itself = is_automatic(out);
    // What a program writes goes to nobody but the author, whose address is proved where addresses are: others never asked for it.
    let (to, copies) =
        if by_itself { (thread.author.clone(), Vec::new()) } else { (thread.to.clone(), thread.cc.clone()) };
    let token = desk.key.token(Kind::Sent, out.key.as_str());
    let known = memory.sent(desk.key, &token).await.map_err(unreadable)?;
    let sent = SentMail {
        key: out.key.clone(),
        thread: out.thread.clone(),
        at: known.as_ref().map_or_else(now_millis, |known| known.at),
        to: Some(to.clone()),
        cc: copies.clone(),
    };
    if by_itself {
        may_be_automatic(desk.settings, &mut memory, &thread, &sent, out.agent.is_none()).await?;
    }
    if known.as_ref() != Some(&sent) {
        memory.keep_sent(&token, &sent);
    }
    host.save_cursors(memory.into_cursors()).await.map_err(unreadable)?;
    let separator = desk.settings.separator;
    // Nothing may come back to what no person wrote, or two programs would tell each other of it for ever.
    let sender =
        (!by_itself).then(|| thread.desk.with_detail(separator, &token).unwrap_or_else(|| thread.desk.clone()));
    let (recipients, envelope_id) = (vec![to], Some(token.clone()));
    let addressed = Addressed { sender, recipients, copies, envelope_id, bytes: None };
    Ok((written(desk, out, &thread, &sent, &addressed, (text, attachments)), addressed))
}

fn written(
    desk: &Desk<'_>,
    out: &Outbound,
    thread: &Thread,
    sent: &SentMail,
    addressed: &Addressed,
    (text, attachments): (&str, &[Attachment]),
) -> Letter {
    let token = addressed.envelope_id.clone().unwrap_or_default();
    let reply_token = desk.key.token(Kind::Reply, out.thread.as_str());
    let bare = |address: &Address| Mailbox { name: String::new(), address: Some(address.clone()) };
    let agent_name = out.agent.as_ref().filter(|_| desk.settings.agent_names).map(|agent| agent.name.clone());
    Letter {
        from: desk.identity.clone(),
        agent_name,
        to: vec![Mailbox { name: thread.to_name.clone(), address: addressed.recipients.first().cloned() }],
        cc: addressed.copies.iter().map(bare).collect(),
        subject: reply_subject(&thread.subject),
        message_id: message_id(&token, &desk.settings.hostname),
        in_reply_to: thread.last.clone(),
        references: thread.references.clone(),
        reply_to: thread.desk.with_detail(desk.settings.separator, &reply_token),
        date_millis: sent.at,
        loop_token: token,
        text: text.to_owned(),
        attachments: attachments.to_vec(),
        auto_submitted: is_automatic(out),
    }
}

/// By which a mail of ours is known again: the same at every attempt.
pub(crate) fn message_id(token: &str, hostname: &str) -> MessageId {
    MessageId::parse(&format!("<{token}@{hostname}>")).expect("the host name was checked")
}

/// Written by the inbox itself, or by a program that works in it.
fn is_automatic(out: &Outbound) -> bool {
    out.agent.as_ref().is_none_or(|agent| agent.is_robot)
}

/// Robots and strangers get no automatic answer, and people one a day of the inbox's own: greetings and the like.
async fn may_be_automatic(
    settings: &Settings,
    memory: &mut Memory<'_>,
    thread: &Thread,
    sent: &SentMail,
    of_the_inbox: bool,
) -> Result<(), Fault> {
    if let Some(robot) = &thread.robot {
        return Err(Fault::refused(format!("automatic mail is not answered automatically: {robot}")));
    }
    if !thread.proved && settings.verify != Verify::Off {
        return Err(Fault::refused("no automatic answer goes to an address that is not proved to be the writer's"));
    }
    if !of_the_inbox {
        return Ok(());
    }
    let earlier = memory.answered_automatically(&thread.author).await.map_err(unreadable)?;
    let is_another = |earlier: &SentMail| earlier.key != sent.key && sent.at - earlier.at < AUTOMATIC_EVERY_MILLIS;
    if earlier.as_ref().is_some_and(is_another) {
        return Err(Fault::refused("the person had an automatic answer within the last day"));
    }
    memory.keep_answered_automatically(&thread.author, sent);
    Ok(())
}

fn unreadable(error: AcceptError) -> Fault {
    Fault::retry(format!("what is known of the conversation cannot be read: {error}")).because(error)
}
