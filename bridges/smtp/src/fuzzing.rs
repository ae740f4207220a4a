//! What must hold for any bytes, gathered: of sessions, of mails that strangers wrote, and of mails that we write.

use bridge_api::kit::fuzz::Target;

pub(crate) use crate::{
    client::fuzzing::RELAY,
    compose::fuzzing::{HEADERS, MARKUP},
    mail::fuzzing::{ADDRESSES, BOUNCE, HTML, NAMES, READ},
    server::fuzzing::SESSION,
};

/// All of this crate.
pub const TARGETS: &[Target] = &[SESSION, RELAY, READ, BOUNCE, HTML, NAMES, ADDRESSES, HEADERS, MARKUP];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_session_is_the_same_however_it_is_cut_and_a_mail_has_one_end() {
        SESSION.play();
    }

    #[test]
    fn any_relay_gets_commands_of_ours_and_no_secret_in_clear() {
        RELAY.play();
    }

    #[test]
    fn any_bytes_are_a_harmless_mail() {
        READ.play();
    }

    #[test]
    fn any_bounce_is_a_few_short_lines() {
        BOUNCE.play();
    }

    #[test]
    fn any_html_of_a_mail_is_only_words() {
        HTML.play();
    }

    #[test]
    fn any_file_name_is_no_path_and_no_program() {
        NAMES.play();
    }

    #[test]
    fn any_address_and_id_can_be_written_back() {
        ADDRESSES.play();
    }

    #[test]
    fn any_words_stay_in_their_header_field() {
        HEADERS.play();
    }

    #[test]
    fn any_markdown_of_an_agent_is_tame_html() {
        MARKUP.play();
    }
}
