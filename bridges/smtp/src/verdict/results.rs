//! Reads the value of an `Authentication-Results` field (RFC 8601). Pure, bounded, and never sure that it is well formed.

use super::{Outcome, Policy};

/// Of one field.
const RESULTS_MAX: usize = 50;
const PROPERTIES_MAX: usize = 20;
const COMMENT_DEPTH_MAX: usize = 20;

/// A field: who says it, and what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Results {
    pub(super) authserv_id: String,
    pub(super) claims: Vec<Claim>,
}

/// `dkim=pass (1024-bit key) header.d=cust.test`: a method in lower case, its result, and what is said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) method: String,
    pub(super) outcome: Outcome,
    comment: String,
    properties: Vec<(String, String)>,
}

impl Claim {
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The domain of the first of these properties that is there; of an address what stands behind its `@`.
    pub(super) fn domain(&self, names: &[&str]) -> Option<String> {
        let value = names.iter().find_map(|name| self.property(name))?;
        let domain = value.rsplit_once('@').map_or(value, |(_, domain)| domain);
        Some(domain.trim_matches(['<', '>', '.']).to_lowercase())
    }

    /// The policy of the author's domain, as the several servers write it. `None` when this one did not.
    pub(super) fn policy(&self) -> Option<Policy> {
        let named = ["policy.dmarc", "policy.published-domain-policy", "action"].iter();
        let property = named.filter_map(|name| self.property(name)).find_map(policy);
        property.or_else(|| {
            let words = self.comment.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')'));
            words.filter_map(|word| word.split_once('=')).find_map(|(name, value)| {
                let known = ["p", "policy", "dmarc"].iter().any(|known| name.eq_ignore_ascii_case(known));
                known.then(|| policy(value)).flatten()
            })
        })
    }
}

fn policy(word: &str) -> Option<Policy> {
    match word.trim_matches('"').to_ascii_lowercase().as_str() {
        "none" | "pct.none" => Some(Policy::None),
        "quarantine" | "pct.quarantine" => Some(Policy::Quarantine),
        "reject" | "oreject" | "pct.reject" => Some(Policy::Reject),
        _ => None,
    }
}

fn outcome(word: &str) -> Outcome {
    match word.to_ascii_lowercase().as_str() {
        "pass" => Outcome::Pass,
        "fail" | "hardfail" => Outcome::Fail,
        "softfail" => Outcome::Softfail,
        "neutral" | "policy" => Outcome::Neutral,
        "temperror" => Outcome::Temperror,
        "permerror" => Outcome::Permerror,
        _ => Outcome::None,
    }
}

/// `None` when there is not even a name at its head.
pub(super) fn parse(value: &str) -> Option<Results> {
    let mut reader = Reader { rest: value, comment: String::new() };
    let authserv_id = reader.word(&[';', '=']);
    // Behind the name may stand a version, which so far is always 1.
    let _version = reader.word(&[';', '=']);
    if authserv_id.is_empty() {
        return None;
    }
    let mut claims = Vec::new();
    while reader.skip_past_semicolon() && claims.len() < RESULTS_MAX {
        claims.extend(reader.claim());
    }
    Some(Results { authserv_id, claims })
}

struct Reader<'x> {
    rest: &'x str,
    /// What stood in brackets since this was last emptied.
    comment: String,
}

impl Reader<'_> {
    fn claim(&mut self) -> Option<Claim> {
        self.comment.clear();
        let (method, result) = self.pair()?;
        let method = method.split('/').next().unwrap_or_default().to_ascii_lowercase();
        let mut claim = Claim { method, outcome: outcome(&result), ..Claim::default() };
        while let Some((name, value)) = self.pair() {
            if claim.properties.len() < PROPERTIES_MAX {
                claim.properties.push((name.to_ascii_lowercase(), value));
            }
        }
        claim.comment = std::mem::take(&mut self.comment);
        Some(claim)
    }

    /// `name=value`, white space and comments around its parts left out. `None` at a semicolon, at the end, and where something
    /// else stands, which is passed over.
    fn pair(&mut self) -> Option<(String, String)> {
        loop {
            let name = self.word(&[';', '=']);
            self.skip_space();
            match (name.is_empty(), self.rest.strip_prefix('=')) {
                (false, Some(rest)) => {
                    self.rest = rest;
                    return Some((name, self.word(&[';'])));
                }
                (true, Some(rest)) => self.rest = rest,
                (false, None) => {}
                (true, None) => return None,
            }
        }
    }

    /// Up to white space, a comment, or one of `ends`; quotes taken off.
    fn word(&mut self, ends: &[char]) -> String {
        self.skip_space();
        let mut word = String::new();
        let mut quoted = false;
        let mut characters = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => quoted = !quoted,
                '\\' if quoted => word.extend(characters.next().map(|(_, c)| c)),
                c if !quoted && (c.is_whitespace() || c == '(' || ends.contains(&c)) => {
                    end = at;
                    break;
                }
                c => word.push(c),
            }
        }
        self.rest = &self.rest[end..];
        word
    }

    fn skip_space(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let Some(inside) = self.rest.strip_prefix('(') else { return };
            self.rest = self.skip_comment(inside);
        }
    }

    /// What stands behind the comment whose first bracket is passed. One that never ends, or is too deep, takes the rest along.
    fn skip_comment<'x>(&mut self, inside: &'x str) -> &'x str {
        let mut depth = 1;
        let mut characters = inside.char_indices();
        self.comment.push(' ');
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' => {
                    characters.next();
                }
                '(' if depth == COMMENT_DEPTH_MAX => return "",
                '(' => depth += 1,
                ')' if depth == 1 => return &inside[at + 1..],
                ')' => depth -= 1,
                c => self.comment.push(c),
            }
        }
        ""
    }

    /// False at the end.
    fn skip_past_semicolon(&mut self) -> bool {
        loop {
            self.skip_space();
            if let Some(rest) = self.rest.strip_prefix(';') {
                self.rest = rest;
                return true;
            }
            if self.rest.is_empty() {
                return false;
            }
            let before = self.rest.len();
            self.word(&[';']);
            if self.rest.len() == before {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claims(value: &str) -> Vec<(String, Outcome)> {
        parse(value).unwrap().claims.into_iter().map(|claim| (claim.method, claim.outcome)).collect()
    }

    #[test]
    fn the_several_hands_of_mail_servers_are_read() {
        let one = parse(
            "mx.acme.test 1; dkim=pass (2048-bit key; unprotected) header.d=cust.test header.i=@cust.test header.b=\"ab=c\";\
             \tspf=softfail (mx.acme.test: ~all (really)) smtp.mailfrom=\"a b\"@cust.test; dmarc=fail (p=reject dis=none) header.from=cust.test",
        )
        .unwrap();
        assert_eq!(one.authserv_id, "mx.acme.test");
        assert_eq!(one.claims.len(), 3);
        assert_eq!(one.claims[0].property("header.b"), Some("ab=c"));
        assert_eq!(one.claims[0].domain(&["header.d"]).as_deref(), Some("cust.test"));
        assert_eq!(one.claims[1].domain(&["smtp.mailfrom"]).as_deref(), Some("cust.test"));
        assert_eq!(one.claims[1].outcome, Outcome::Softfail);
        assert_eq!((one.claims[2].outcome, one.claims[2].policy()), (Outcome::Fail, Some(Policy::Reject)));
        for (value, policy) in [
            ("m; dmarc=fail action=oreject header.from=c.test", Some(Policy::Reject)),
            ("m; dmarc=fail reason=\"x\" header.from=c.test (policy=quarantine)", Some(Policy::Quarantine)),
            ("m; dmarc=fail policy.dmarc=none", Some(Policy::None)),
            ("m; dmarc=fail (p=REJECT sp=NONE dis=NONE) header.from=c.test", Some(Policy::Reject)),
            ("m; dmarc=fail (the map=reject is elsewhere)", None),
            ("m; dmarc=fail", None),
        ] {
            assert_eq!(parse(value).unwrap().claims[0].policy(), policy, "{value}");
        }
    }

    #[test]
    fn odd_forms_say_what_they_say_and_no_more() {
        use Outcome::{Fail, None, Pass};
        let list = |pairs: &[(&str, Outcome)]| pairs.iter().map(|(m, o)| ((*m).to_owned(), *o)).collect::<Vec<_>>();
        for (value, expected) in [
            ("mx; none", list(&[])),
            ("mx", list(&[])),
            ("mx;", list(&[])),
            ("(a comment) mx (another) ; (third) dkim (4) = (5) pass", list(&[("dkim", Pass)])),
            ("mx; DKIM/1=PASS", list(&[("dkim", Pass)])),
            ("mx; dkim=passed", list(&[("dkim", None)])),
            ("mx;;; dkim=fail;;", list(&[("dkim", Fail)])),
            ("mx; (dmarc=pass; dkim=pass)", list(&[])),
            ("mx; (never ends; dmarc=pass", list(&[])),
            ("mx; dkim=fail reason=\"; dmarc=pass\"", list(&[("dkim", Fail)])),
            ("mx; dkim=fail reason=\"never ends; dmarc=pass", list(&[("dkim", Fail)])),
            ("mx; = dkim=pass", list(&[("dkim", Pass)])),
        ] {
            assert_eq!(claims(value), expected, "{value}");
        }
        assert_eq!(parse(""), Option::None);
        assert_eq!(parse(" ; dmarc=pass"), Option::None);
        assert_eq!(parse("(mx) ; dmarc=pass"), Option::None);
    }

    #[test]
    fn a_field_is_read_up_to_a_bound() {
        let long = format!("mx{}", "; dkim=pass".repeat(RESULTS_MAX + 1));
        assert_eq!(claims(&long).len(), RESULTS_MAX);
        let wide = format!("mx; dkim=pass{}", " a.b=c".repeat(PROPERTIES_MAX + 1));
        assert_eq!(parse(&wide).unwrap().claims[0].properties.len(), PROPERTIES_MAX);
        let deep = format!("mx; {}{} dkim=pass", "(".repeat(COMMENT_DEPTH_MAX + 1), ")".repeat(COMMENT_DEPTH_MAX + 1));
        assert_eq!(claims(&deep), []);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "([ -~]|[;=()\"\\\\ ]|\\PC){0,200}") {
            parse(&text);
        }
    }
}
