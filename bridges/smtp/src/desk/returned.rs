//! What a report says of a mail of ours, for the agent. Pure.

use bridge_api::Receipt;

use crate::{
    address::Address,
    bounce::{Action, RecipientReport},
    compose::written_address,
    threads::SentMail,
};

/// What became of one mail.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    /// Of the mail: what became of it on its way to whom it is for.
    pub(super) receipt: Option<Receipt>,
    pub(super) notes: Vec<String>,
    /// To whom no copy came.
    pub(super) unreached: Vec<Address>,
}

/// `None` when nothing is said. A copy that reached nobody fails no mail: sent again, it would come twice to whom it is
/// for.
pub(super) fn news(recipients: &[RecipientReport], sent: &SentMail) -> Option<News> {
    let mut news = News::default();
    let (mut failed, mut delivered) = (None, None);
    for one in recipients {
        let copy = one.address.as_ref().filter(|address| is_copy(address, sent));
        match (one.action, copy) {
            (Action::Failed, None) => {
                failed.get_or_insert_with(|| Receipt::Failed(one.sentence()));
            }
            (Action::Failed, Some(address)) => {
                news.notes.push(format!("No copy reached {address}: {}", one.sentence()));
                news.unreached.push(address.clone());
            }
            (Action::Delayed, _) => {
                let whom = one.address.as_ref().map_or("the recipient", Address::as_str);
                news.notes.push(format!("A mail to {whom} is still on its way: {}", one.sentence()));
            }
            (Action::Delivered | Action::Relayed | Action::Expanded, None) => delivered = Some(Receipt::Delivered),
            (Action::Delivered | Action::Relayed | Action::Expanded, Some(_)) => {}
        }
    }
    news.receipt = failed.or(delivered);
    (!recipients.is_empty()).then_some(news)
}

/// A mail that went to one person alone is about that one, by whatever name the servers behind know them.
fn is_copy(address: &Address, sent: &SentMail) -> bool {
    sent.to.as_ref().is_some_and(|to| !is_same(to, address)) && !sent.cc.is_empty()
}

/// Reports repeat an address as it was written to the relay.
pub(super) fn is_same(one: &Address, other: &Address) -> bool {
    one == other || written_address(one).eq_ignore_ascii_case(&written_address(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn one(whom: &str, action: Action) -> RecipientReport {
        RecipientReport {
            address: Address::parse(whom),
            action,
            status: "5.1.1".to_owned(),
            diagnostic: "no".to_owned(),
            remote: None,
        }
    }

    fn sent(to: Option<&str>, cc: &[&str]) -> SentMail {
        let cc = cc.iter().map(|text| address(text)).collect();
        SentMail { key: "k".into(), thread: "t".into(), at: 0, to: to.map(address), cc }
    }

    #[test]
    fn a_mail_fails_for_whom_it_is_for_and_for_nobody_else() {
        let both = sent(Some("ada@müll.test"), &["bob@cust.test"]);
        let failed = Some(Receipt::Failed("5.1.1 no".to_owned()));
        for (name, sent, whom, receipt, unreached) in [
            ("whom it is for", &both, "ada@müll.test", failed.clone(), None),
            ("as the relay was told", &both, "ADA@xn--mll-hoa.test", failed.clone(), None),
            ("nobody knows whom", &both, "", failed.clone(), None),
            ("a copy", &both, "bob@cust.test", None, Some("bob@cust.test")),
            ("where the copy was sent on to", &both, "bob@home.test", None, Some("bob@home.test")),
            ("where the only one was sent on to", &sent(Some("ada@x.test"), &[]), "ada@y.test", failed.clone(), None),
            ("before it was remembered", &sent(None, &[]), "bob@cust.test", failed, None),
        ] {
            let news = news(&[one(whom, Action::Failed)], sent).unwrap();
            assert_eq!(news.receipt, receipt, "{name}");
            assert_eq!(news.unreached, unreached.map(address).into_iter().collect::<Vec<_>>(), "{name}");
            assert_eq!(news.notes.len(), news.unreached.len(), "{name}");
        }
    }

    #[test]
    fn one_report_can_say_several_things() {
        let sent = sent(Some("ada@x.test"), &["bob@x.test", "eve@x.test"]);
        let told = [
            one("bob@x.test", Action::Failed),
            one("ada@x.test", Action::Delivered),
            one("eve@x.test", Action::Delayed),
        ];
        let news = news(&told, &sent).unwrap();
        assert_eq!(news.receipt, Some(Receipt::Delivered));
        assert_eq!(
            news.notes,
            ["No copy reached bob@x.test: 5.1.1 no", "A mail to eve@x.test is still on its way: 5.1.1 no"]
        );
        let copy = super::news(&[one("bob@x.test", Action::Delivered)], &sent);
        assert_eq!(copy, Some(News::default()), "that a copy came is said to nobody");
        assert_eq!(super::news(&[], &sent), None);
    }
}
