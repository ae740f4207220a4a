//! Tokens as servers send them, defaults, and case mappings.

use proptest::prelude::*;

use super::*;

fn with(tokens: &[&str]) -> Isupport {
    let mut isupport = Isupport::default();
    apply(&mut isupport, tokens);
    isupport
}

fn apply(isupport: &mut Isupport, tokens: &[&str]) -> Applied {
    isupport.apply(&[&["me"], tokens, &["are supported by this server"]].concat())
}

#[test]
fn names_fold_as_the_network_says() {
    for (mapping, left, right, same) in [
        (CaseMapping::Ascii, "Nick[1]", "nick[1]", true),
        (CaseMapping::Ascii, "nick[1]", "nick{1}", false),
        (CaseMapping::Rfc1459, "A[]\\~", "a{}|^", true),
        (CaseMapping::Rfc1459Strict, "A[]\\", "a{}|", true),
        (CaseMapping::Rfc1459Strict, "~", "^", false),
        (CaseMapping::Rfc1459, "É", "é", false),
    ] {
        assert_eq!(mapping.fold(left) == mapping.fold(right), same, "{mapping:?} {left} {right}");
    }
}

#[test]
fn what_the_server_leaves_unsaid_has_a_default() {
    let isupport = with(&[]);
    assert_eq!(isupport.case_mapping(), CaseMapping::Rfc1459);
    assert_eq!((isupport.nick_bytes_max(), isupport.peer_nick_bytes_max()), (9, 31));
    assert_eq!((isupport.user_bytes_max(), isupport.host_bytes_max(), isupport.line_bytes_max()), (11, 63, 512));
    assert_eq!((isupport.channel_types(), isupport.monitor_max(), isupport.chathistory_max()), ("#&", None, None));
    assert_eq!(isupport.prefixes().collect::<Vec<_>>(), [('o', '@'), ('v', '+')]);
    assert_eq!(isupport.channel_of("@#a"), "@#a");
    assert!(isupport.allows_client_tag("+typing") && !isupport.has_whox() && !isupport.utf8_only());
}

#[test]
fn tokens_are_set_removed_and_unescaped() {
    let mut isupport = with(&["NICKLEN=30", r"NETWORK=A\x20B\x5cx\x3D", "WHOX", "X=\\xzz", "Y=\\xff", "bot=B", "=z"]);
    assert_eq!(
        (isupport.network(), isupport.token("X"), isupport.token("Y")),
        (Some("A B\\x="), Some("\\xzz"), Some("\\xff"))
    );
    assert!(isupport.has_whox() && isupport.has("X") && isupport.bot_mode() == Some('B'));
    apply(&mut isupport, &["-WHOX", "-nicklen", "-NEVER", "NETWORK=C"]);
    assert_eq!((isupport.has_whox(), isupport.nick_bytes_max(), isupport.network()), (false, 9, Some("C")));
    // The closing prose may be missing, and so may everything.
    isupport.apply(&["me", "NICKLEN=20"]);
    assert_eq!(isupport.nick_bytes_max(), 20);
    isupport.apply(&[]);
}

#[test]
fn a_change_of_case_mapping_is_reported() {
    let mut isupport = with(&[]);
    let applied = apply(&mut isupport, &["CASEMAPPING=ascii"]);
    assert_eq!(applied, Applied { case_mapping_changed: true, case_mapping_unknown: false });
    assert_eq!(apply(&mut isupport, &["CASEMAPPING=ascii"]), Applied::default());
    let applied = apply(&mut isupport, &["CASEMAPPING=rfc8265"]);
    assert_eq!(applied, Applied { case_mapping_changed: false, case_mapping_unknown: true });
    assert!(apply(&mut isupport, &["-CASEMAPPING"]).case_mapping_changed);
    assert!(isupport.same("a[", "A{"));
}

#[test]
fn numbers_out_of_range_give_the_default() {
    let isupport = with(&["NICKLEN=0", "LINELEN=99999999999999999999", "MONITOR=", "CHATHISTORY=0", "HOSTLEN=-1"]);
    assert_eq!((isupport.nick_bytes_max(), isupport.line_bytes_max(), isupport.host_bytes_max()), (9, 512, 63));
    assert_eq!((isupport.monitor_max(), isupport.chathistory_max()), (Some(usize::MAX), Some(usize::MAX)));
    assert_eq!(with(&["LINELEN=100"]).line_bytes_max(), 512);
    assert_eq!(with(&["LINELEN=65535"]).line_bytes_max(), crate::message::LINE_BYTES_MAX);
    assert_eq!(with(&["MONITOR=30"]).monitor_max(), Some(30));
}

#[test]
fn channels_marks_and_modes_follow_the_tokens() {
    let isupport = with(&["CHANTYPES=#!", "PREFIX=(qov)~@+", "STATUSMSG=@+", "CHANMODES=beI,k,l,imnt"]);
    for (name, channel) in [("#a", true), ("!a", true), ("&a", false), ("a", false), ("", false), ("@#a", false)] {
        assert_eq!(isupport.is_channel(name), channel, "{name}");
    }
    assert_eq!((isupport.channel_of("@+#a"), isupport.channel_of("@a")), ("#a", "@a"));
    assert_eq!(isupport.split_marks("~@nick!u@h"), ("~@", "nick!u@h"));
    assert_eq!(isupport.split_marks("nick"), ("", "nick"));
    for (mode, param) in [
        ('o', ModeParam::Always),
        ('b', ModeParam::Always),
        ('k', ModeParam::Always),
        ('l', ModeParam::WhenSet),
        ('i', ModeParam::Never),
        ('Z', ModeParam::Never),
    ] {
        assert_eq!(isupport.mode_param(mode), param, "{mode}");
    }
    assert!(!with(&["CHANTYPES="]).is_channel("#a"));
    assert_eq!(with(&["PREFIX="]).prefixes().count(), 0);
}

#[test]
fn client_tags_may_be_denied() {
    for (deny, tag, allowed) in [
        ("", "+typing", true),
        ("*", "+typing", false),
        ("*,-typing", "+typing", true),
        ("*,-draft/react", "+typing", false),
        ("typing", "+typing", false),
        ("typing", "+reply", true),
    ] {
        assert_eq!(with(&[&format!("CLIENTTAGDENY={deny}")]).allows_client_tag(tag), allowed, "{deny} {tag}");
    }
}

proptest! {
    #[test]
    fn any_tokens_never_panic_and_stay_bounded(tokens in proptest::collection::vec("[A-C=\\\\xf0-9,()é@#-]{0,12}", 0..400)) {
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let isupport = with(&tokens);
        prop_assert!(isupport.tokens.len() <= TOKENS_MAX);
        let _ = (isupport.is_channel("#a"), isupport.split_marks("@a"), isupport.mode_param('o'));
    }
}
