//! Which links of an agent's Markdown reach the customer.

/// What a mail program may be asked to open.
const SCHEMES: [&str; 4] = ["http", "https", "mailto", "tel"];

/// One of the harmless schemes, and nothing hidden in front of it.
pub(crate) fn is_allowed(address: &str) -> bool {
    let plain = !address.chars().any(|c| c.is_control() || c.is_whitespace());
    let scheme = address.split_once(':').map(|(scheme, _)| scheme);
    plain && scheme.is_some_and(|scheme| SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_links_are_allowed() {
        for good in ["http://a.test", "HTTPS://a.test/x?y#z", "mailto:a@b.test", "tel:+49123"] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in ["javascript:alert(1)", " http://a.test", "java\nscript:x", "data:x", "//a.test", "a", "file:///x"] {
            assert!(!is_allowed(bad), "{bad:?}");
        }
    }
}
