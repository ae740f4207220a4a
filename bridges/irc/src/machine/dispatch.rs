//! Which line goes where. Decides nothing itself.

use super::{Ending, Machine, Phase, reconnect};
use crate::message::{Command, Line, Source, Verb};

impl Machine {
    pub(super) fn dispatch(&mut self, line: &Line<'_>, decoded_as: Option<&'static str>) {
        if self.link.phase == Phase::Closing {
            return;
        }
        match &line.verb {
            Verb::Numeric(number) => self.on_numeric(*number, line),
            Verb::Word(word) => self.on_word(word, line, decoded_as),
        }
    }

    fn on_word(&mut self, word: &str, line: &Line<'_>, decoded_as: Option<&'static str>) {
        if self.is_old(word, line) {
            return;
        }
        match word {
            "PRIVMSG" => self.on_privmsg(line, decoded_as),
            "NOTICE" => self.on_notice(line),
            "PING" => {
                let pong = line.params().split_last().map_or(Command::new("PONG"), |(last, before)| {
                    before.iter().fold(Command::new("PONG"), |pong, param| pong.param(*param)).last(*last)
                });
                self.write_now(&pong);
            }
            "PONG" => self.on_pong(line.last()),
            "CAP" => self.on_cap(line),
            "AUTHENTICATE" => self.on_authenticate(line),
            "BATCH" => self.on_batch(line),
            "ACK" => self.on_ack(line),
            "FAIL" | "WARN" | "NOTE" => self.on_standard_reply(word, line),
            "JOIN" => self.on_join(line),
            "PART" => self.on_part(line),
            "KICK" => self.on_kick(line),
            "QUIT" => self.on_quit(line),
            "NICK" => self.on_nick(line),
            "ACCOUNT" => self.on_account(line),
            "CHGHOST" => self.on_chghost(line),
            "KILL" => self.on_kill(line),
            "ERROR" => self.on_error(line),
            _ => {}
        }
    }

    /// A line of a page of history is kept until the page ends. It must never act.
    fn is_old(&mut self, word: &str, line: &Line<'_>) -> bool {
        if self.link.batches.is_empty() || word == "BATCH" {
            return false;
        }
        let page = line.tag("batch").and_then(|id| self.link.batches.history(&id));
        page.map(|page| page.keep(line.text(), None)).is_some()
    }

    fn on_numeric(&mut self, number: u16, line: &Line<'_>) {
        match number {
            1 => self.on_welcome(line),
            2 | 4 | 351 => self.on_version(line),
            5 => self.on_isupport(line),
            302 => self.on_userhost(line),
            311 | 312 | 313 | 317 | 318 | 319 | 330 | 335 => self.on_whois(number, line),
            353 => self.on_names(line),
            366 => self.on_names_end(line),
            376 | 422 => self.on_welcome_end(),
            396 => self.on_own_host(line),
            401 | 402 => self.on_nobody(number, line),
            421 if line.param(1) == Some("CAP") => self.introduce(),
            421 if line.param(1) == Some("CHATHISTORY") => self.on_history_refused(line.last()),
            403 | 405 | 437 | 470 | 471 | 473..=475 | 477 | 489 | 520 if self.on_join_refused(number, line) => {}
            432 | 433 | 435..=438 | 447 => self.on_nick_refused(number, line),
            263 => self.on_busy(line),
            464 => self.ended_by(Ending::Auth, line.last()),
            465 => self.ended_by(Ending::Banned, line.last()),
            730 => self.on_monitor_online(line),
            731 => self.on_monitor_offline(line),
            734 => self.on_monitor_full(line),
            900 => self.on_logged_in(line),
            901 => self.link.account = None,
            903 => self.on_log_in_done(),
            902 | 904..=907 => self.on_log_in_refused(number, line),
            _ => self.on_reply(number, line),
        }
    }

    /// An ERROR is the server's last word. Why it came may have been said better before.
    fn on_error(&mut self, line: &Line<'_>) {
        let text = line.last();
        let ending = reconnect::classify(text);
        self.ended_by(ending, text);
    }

    fn on_kill(&mut self, line: &Line<'_>) {
        let name = line.param_or_empty(0);
        if self.link.is_us(name) {
            self.ended_by(Ending::Killed, line.last());
        } else {
            let nick = name.to_owned();
            self.note_gone(&self.link.fold(&nick), "was thrown off the network");
            self.gone(&nick, "killed");
        }
    }

    /// Notes why the connection will end. The server closes it; the worst reason wins.
    pub(super) fn ended_by(&mut self, ending: Ending, text: &str) {
        if self.link.ending.is_none_or(|known| known < ending) {
            self.link.ending = Some(ending);
            self.link.ending_text = Some(text.to_owned());
        } else if self.link.ending_text.is_none() {
            self.link.ending_text = Some(text.to_owned());
        }
    }

    pub(super) fn on_server_notice(&mut self, line: &Line<'_>) {
        let text = line.last();
        let ending = reconnect::classify(text);
        if self.link.phase == Phase::Registering && ending == Ending::Banned {
            self.ended_by(ending, text);
        }
        tracing::debug!(server = line.source.map_or("", |source| source.name()), "server notice");
    }

    /// A line from a server, from services or from nobody. None of them is ever a contact.
    pub(super) fn is_official(line: &Line<'_>) -> bool {
        match line.source {
            None | Some(Source::Server(_)) => true,
            Some(Source::Peer { nick, user, host }) => {
                let services = host.starts_with("services.") || host == "services";
                (user.is_empty() && host.is_empty()) || services && nick.to_ascii_lowercase().ends_with("serv")
            }
        }
    }
}
