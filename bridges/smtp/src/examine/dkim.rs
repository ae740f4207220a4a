//! Whether the key that we sign with is the one that receivers find in DNS.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Look, Outcome, failed,
    names::{Mute, Names},
    warning,
};
use crate::compose::public_key;

/// `None`: we do not sign.
pub(super) async fn look(look: &Look<'_>, names: &Names<'_>) -> Option<(String, Result<Outcome, Mute>)> {
    let settings = look.settings.dkim.as_ref()?;
    let name = format!("{}._domainkey.{}", settings.selector, settings.domain);
    let tried = format!("find our DKIM key at {name}");
    let key = match public_key(settings) {
        Ok(key) => key,
        Err(fault) => return Some((tried, Ok(failed(fault.to_string(), "set `dkim.key_file` to a readable key")))),
    };
    let add = format!("add the TXT record `{name}` with `v=DKIM1; k=rsa; p={}`", STANDARD.encode(&key));
    let outcome = names.texts(&name).await.map(|texts| match texts.iter().find_map(|text| published(text)) {
        None => failed("there is none, so every signature of ours fails", add),
        Some(found) if found.is_empty() => failed("the key there was taken back (`p=` is empty)", add),
        Some(found) if !holds(&found, &key) => failed("there is another key than that of `dkim.key_file`", add),
        Some(_) if !stands_for(&settings.domain, look.identity.address.domain()) => {
            let change = "set `dkim.domain` to the domain of `from`, or to one above it";
            warning(format!("it is the same, but {} does not stand for the domain of `from`", settings.domain), change)
        }
        Some(_) => Outcome::Fine("it is that of `dkim.key_file`".to_owned()),
    });
    Some((tried, outcome))
}

/// What stands behind `p=`, without the spaces that may be in it.
fn published(record: &str) -> Option<String> {
    let tags = record.split(';').filter_map(|tag| tag.split_once('='));
    let key = tags.into_iter().find(|(name, _)| name.trim() == "p")?.1;
    Some(key.chars().filter(|c| !c.is_whitespace()).collect())
}

/// Some publish the key alone, without what says that it is one of RSA.
fn holds(published: &str, key: &[u8]) -> bool {
    STANDARD.decode(published).is_ok_and(|found| found == key || (found.len() > 200 && key.ends_with(&found)))
}

fn stands_for(signing: &str, from: &str) -> bool {
    let signing = signing.to_lowercase();
    from == signing || from.strip_suffix(&signing).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_a_record_of_any_form() {
        for (record, expected) in [
            ("v=DKIM1; k=rsa; p=AB CD", Some("ABCD")),
            ("p=ABCD=", Some("ABCD=")),
            ("v=DKIM1;p=", Some("")),
            ("v=spf1 -all", None),
            ("", None),
        ] {
            assert_eq!(published(record).as_deref(), expected, "{record}");
        }
    }

    #[test]
    fn a_domain_stands_for_itself_and_those_below() {
        for (signing, from, expected) in [
            ("acme.test", "acme.test", true),
            ("ACME.test", "mail.acme.test", true),
            ("mail.acme.test", "acme.test", false),
            ("acme.test", "notacme.test", false),
        ] {
            assert_eq!(stands_for(signing, from), expected, "{signing} {from}");
        }
    }
}
