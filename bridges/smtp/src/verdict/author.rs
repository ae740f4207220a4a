//! Whose word a mail has to be: the one domain of its `From` addresses. Pure.

use crate::mail::Mailbox;

/// The domain that every `From` address has, or one sentence why there is none.
pub(super) fn domain(from: &[Mailbox], from_fields: usize) -> Result<String, &'static str> {
    if from_fields > 1 {
        return Err("The mail has more than one From field, so nobody can be proved to have written it.");
    }
    let mut domains = from.iter().map(|mailbox| mailbox.address.as_ref().map(crate::address::Address::domain));
    let Some(Some(first)) = domains.next().filter(|_| from_fields == 1) else {
        return Err("The mail names no sender whose address could be proved.");
    };
    if domains.any(|other| other != Some(first)) {
        return Err("The From field names senders of different domains, so none of them is proved.");
    }
    Ok(first.to_owned())
}

/// May `signer` speak for mail of `author`, where the domain publishes no rule of its own? It is the same domain or one above
/// it, but no top-level domain. One below it may not: it can belong to somebody else, as `customer.hoster.test` does.
pub(super) fn speaks_for(signer: &str, author: &str) -> bool {
    let signer = signer.strip_suffix('.').unwrap_or(signer).to_lowercase();
    let above = author.strip_suffix(signer.as_str()).is_some_and(|rest| rest.ends_with('.'));
    signer == author || (above && signer.contains('.') && !signer.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;

    fn mailboxes(addresses: &[&str]) -> Vec<Mailbox> {
        addresses.iter().map(|text| Mailbox { name: String::new(), address: Address::parse(text) }).collect()
    }

    #[test]
    fn one_domain_or_none() {
        assert_eq!(domain(&mailboxes(&["ada@Cust.test"]), 1), Ok("cust.test".to_owned()));
        assert_eq!(domain(&mailboxes(&["ada@cust.test", "bob@CUST.test"]), 1), Ok("cust.test".to_owned()));
        for (addresses, fields) in [
            (&["ada@cust.test", "bob@other.test"][..], 1),
            (&["ada@cust.test", "garbage"], 1),
            (&["garbage", "ada@cust.test"], 1),
            (&["ada@cust.test"], 2),
            (&["ada@cust.test"], 0),
            (&[], 1),
            (&[], 0),
        ] {
            assert!(domain(&mailboxes(addresses), fields).is_err(), "{addresses:?} in {fields}");
        }
    }

    #[test]
    fn a_domain_speaks_for_itself_and_for_what_is_below_it() {
        for (signer, author, expected) in [
            ("cust.test", "cust.test", true),
            ("CUST.test.", "cust.test", true),
            ("cust.test", "mail.cust.test", true),
            ("mail.cust.test", "cust.test", false),
            ("test", "cust.test", false),
            ("ust.test", "cust.test", false),
            (".test", "cust.test", false),
            ("", "cust.test", false),
            (".", "cust.test", false),
            ("cust.test.evil.test", "cust.test", false),
        ] {
            assert_eq!(speaks_for(signer, author), expected, "{signer} for {author}");
        }
    }
}
