//! A secret for each secret key of the settings, and the forms in which it might come out.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

pub(super) const ADMIN: &str = "canary-admin-token-q7";
pub(super) const API: &str = "canary-api-access-token-q7";
pub(super) const OTHER_API: &str = "canary-other-api-token-q7";
pub(super) const CALLBACK: &str = "canary-callback-secret-q7";
pub(super) const PATH: &str = "canary-path-token-q7";
pub(super) const AS: &str = "canary-as-token-q7";
pub(super) const HS: &str = "canary-hs-token-q7";
pub(super) const ACCESS: &str = "canary-access-token-q7";
pub(super) const IRC: &str = "canary-irc-password-q7";
pub(super) const SASL: &str = "canary-sasl-password-q7";
pub(super) const CHANNEL_KEY: &str = "canary-channel-key-q7";
pub(super) const RELAY: &str = "canary-relay-password-q7";

pub(super) const ALL: [&str; 12] =
    [ADMIN, API, OTHER_API, CALLBACK, PATH, AS, HS, ACCESS, IRC, SASL, CHANNEL_KEY, RELAY];

/// As it is, in hex, and in base64 wherever it may begin there, without the letters that its neighbours decide.
pub(super) fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), hex::encode(secret)];
    for (before, letters) in [(0, 0), (1, 2), (2, 3)] {
        let bytes = [vec![0; before], secret.as_bytes().to_vec()].concat();
        let whole = STANDARD_NO_PAD.encode(bytes);
        forms.push(whole[letters..whole.len() - 2].to_owned());
    }
    forms
}

#[test]
fn a_secret_is_known_again_in_the_middle_of_base64() {
    for around in ["", "\0", "\0acct\0", "\0account\0"] {
        let encoded = STANDARD_NO_PAD.encode(format!("{around}{SASL}{around}"));
        assert!(forms(SASL).iter().any(|form| encoded.contains(form)), "{encoded}");
        assert!(!forms(IRC).iter().any(|form| encoded.contains(form)), "{encoded}");
    }
}
