//! What became of a written reply: echoes, answers to PING, and every way a server says no.

use std::borrow::Cow;

use bridge_api::{EventId, Fault, Inbound, Receipt, Report};

use super::{
    Machine, Output,
    batch::Kept,
    delivery::{BOUNCE_TIME, Flight, Proof, Stage},
    replies,
};
use crate::{
    isupport::Folded,
    message::{Line, Source},
};

impl Machine {
    /// The label that a line answers: its own, or its batch's.
    pub(super) fn label_of(&self, line: &Line<'_>) -> Option<String> {
        let own = line.tag("label").map(Cow::into_owned);
        own.or_else(|| line.tag("batch").and_then(|id| self.link.batches.label_of(&id).map(str::to_owned)))
    }

    /// Our own line came back.
    pub(super) fn on_echo(&mut self, line: &Line<'_>) {
        let target = self.link.fold(line.param_or_empty(0));
        let index = match self.label_of(line) {
            Some(label) => self.flying_with_label(&label),
            None => self.find_flight(|flight| flight.proof == Proof::Echo && flight.target == target),
        };
        let Some(index) = index else { return };
        let event = line.tag("msgid").filter(|id| !id.is_empty()).map(|id| EventId::from(id.into_owned()));
        if let Stage::Flying(flight) = &mut self.orders.list[index].stage {
            flight.unproved = flight.unproved.saturating_sub(1);
            flight.sent.event = event.or_else(|| flight.sent.event.take());
            if flight.unproved == 0 {
                let sent = std::mem::take(&mut flight.sent);
                self.settle(index, Ok(sent));
            }
        }
    }

    pub(super) fn on_pong(&mut self, token: &str) {
        let found = self.find_flight(|flight| matches!(&flight.proof, Proof::Barrier(own) if own == token));
        if let Some(index) = found
            && let Stage::Flying(flight) = &mut self.orders.list[index].stage
        {
            let sent = std::mem::take(&mut flight.sent);
            self.settle(index, Ok(sent));
        }
    }

    fn find_flight(&self, fits: impl Fn(&Flight) -> bool) -> Option<usize> {
        self.orders.list.iter().position(|order| matches!(&order.stage, Stage::Flying(flight) if fits(flight)))
    }

    fn flying_with_label(&self, label: &str) -> Option<usize> {
        self.find_flight(|flight| matches!(&flight.proof, Proof::Labels(own) if own.iter().any(|own| own == label)))
    }

    /// A numeric that no other part of the machine knows: is it about a reply of ours?
    pub(super) fn on_reply(&mut self, number: u16, line: &Line<'_>) {
        if number == 301 {
            self.on_away(line);
            return;
        }
        let Some(fault) = replies::fault(number, line.param_or_empty(1), line.last()) else { return };
        let target = self.link.fold(line.param_or_empty(1));
        match self.answered_flight(line, number, &target) {
            Some(index) => {
                tracing::warn!(code = number, reason = line.last(), "a reply was refused");
                self.settle(index, Err(fault));
            }
            None => self.bounce(&target, &fault),
        }
    }

    /// Which reply a refusal is about: by label, by target, or the oldest where the numeric names none.
    fn answered_flight(&self, line: &Line<'_>, number: u16, target: &Folded) -> Option<usize> {
        if let Some(label) = self.label_of(line) {
            return self.flying_with_label(&label);
        }
        let by_target =
            self.find_flight(|flight| flight.target == *target && !matches!(flight.proof, Proof::Labels(_)));
        let nameless = replies::names_no_target(number) || line.params().len() < 3;
        by_target.or_else(|| if nameless { self.find_flight(|_| true) } else { None })
    }

    /// 401 and 402: nobody there. Also the answer to a WHOIS.
    pub(super) fn on_nobody(&mut self, number: u16, line: &Line<'_>) {
        let nick = line.param_or_empty(1).to_owned();
        let target = self.link.fold(&nick);
        if let Some(index) = self.answered_flight(line, number, &target) {
            self.settle(index, Err(replies::nobody(&nick)));
        } else if !self.is_asked(&target) {
            self.bounce(&target, &replies::nobody(&nick));
        }
        if self.whois_found_nobody(&nick) {
            return;
        }
        self.link.live.remove(&target);
    }

    /// A far server's refusal after ours had accepted the line.
    fn bounce(&mut self, target: &Folded, fault: &Fault) {
        let now = self.now.at;
        let recent = |at| now.saturating_duration_since(at) < BOUNCE_TIME;
        let found = self.orders.bounceable.iter().rposition(|sent| sent.target == *target && recent(sent.at));
        let Some(bounced) = found.and_then(|place| self.orders.bounceable.remove(place)) else { return };
        self.outputs.push_back(Output::Event(Inbound {
            event: EventId::from(format!("{}-{}", self.link.epoch, self.link.lines)),
            at_millis: self.now.millis,
            thread: bounced.thread,
            report: Report::Receipt { key: bounced.key, receipt: Receipt::Failed(fault.reason.clone()) },
        }));
    }

    /// 301: `<us> <nick> :away text`. The line is delivered all the same.
    fn on_away(&mut self, line: &Line<'_>) {
        let target = self.link.fold(line.param_or_empty(1));
        let index = match self.label_of(line) {
            Some(label) => self.flying_with_label(&label),
            None => self.find_flight(|flight| flight.target == target),
        };
        let text = crate::text::display_name(line.last());
        if let Some(Stage::Flying(flight)) = index.map(|index| &mut self.orders.list[index].stage) {
            flight.away = Some(text);
        }
    }

    pub(super) fn on_batch(&mut self, line: &Line<'_>) {
        let Some(reference) = line.param(0) else { return };
        if let Some(id) = reference.strip_prefix('+') {
            let label = self.label_of(line);
            self.link.batches.open(id, line.param_or_empty(1), label, line.text(), self.now.at);
            return;
        }
        let Some(batch) = reference.strip_prefix('-').and_then(|id| self.link.batches.close(id)) else { return };
        match batch.kind.as_str() {
            "labeled-response" => {
                if let Some(label) = batch.label {
                    self.answered_without_echo(&label, "the server did not take the line");
                }
            }
            "draft/multiline" => self.on_multiline(&batch.opening, &batch.lines),
            "chathistory" => self.on_history_page(batch),
            "draft/chathistory-targets" => self.on_history_targets(&batch),
            _ => {}
        }
    }

    /// One message in several lines.
    fn on_multiline(&mut self, opening: &str, lines: &[Kept]) {
        let Some(opening) = Line::parse(opening) else { return };
        let Some(source) = opening.source.filter(|source| matches!(source, Source::Peer { .. })) else { return };
        let mut text = String::new();
        for line in lines.iter().filter_map(|kept| Line::parse(&kept.line)) {
            if !text.is_empty() && line.tag("draft/multiline-concat").is_none() {
                text.push('\n');
            }
            text.push_str(line.last());
        }
        if let Some(page) = opening.tag("batch").and_then(|id| self.link.batches.history(&id)) {
            page.keep(opening.text(), Some(text));
            return;
        }
        if self.link.is_us(source.name()) {
            return;
        }
        let target = opening.param_or_empty(2).to_owned();
        let channel = self.link.isupport.channel_of(&target).to_owned();
        self.heard(&channel, &opening);
        if self.link.isupport.is_channel(&channel) {
            self.on_channel_line(&opening, &channel, &text, None);
        } else if self.link.is_us(&target) {
            self.on_direct_line(&opening, &text, None);
        }
    }

    /// `ACK`: the server has nothing to say about a labelled command, so there was no echo.
    pub(super) fn on_ack(&mut self, line: &Line<'_>) {
        if let Some(label) = self.label_of(line) {
            self.answered_without_echo(&label, "the server dropped the line without a word");
        }
    }

    fn answered_without_echo(&mut self, label: &str, reason: &str) {
        if let Some(index) = self.flying_with_label(label)
            && self.fully_answered(index, label)
        {
            self.settle(index, Err(Fault::refused(reason)));
        }
    }

    /// An echo inside the batch has settled the order already, unless it has more lines than one.
    fn fully_answered(&self, index: usize, label: &str) -> bool {
        match &self.orders.list[index].stage {
            Stage::Flying(Flight { proof: Proof::Labels(labels), unproved, .. }) => {
                labels.iter().position(|own| own == label).is_some_and(|place| labels.len() - unproved <= place)
            }
            Stage::Flying(_) | Stage::Waiting | Stage::Checking(_) | Stage::Proved(..) => false,
        }
    }

    /// `FAIL <command> <code> [<context> ...] :text` (`IRCv3` `standard-replies`)
    pub(super) fn on_standard_reply(&mut self, word: &str, line: &Line<'_>) {
        let command = line.param_or_empty(0);
        tracing::debug!(word, command, code = line.param_or_empty(1), reason = line.last(), "standard reply");
        if word != "FAIL" {
            return;
        }
        if command == "CHATHISTORY" {
            self.on_history_refused(line.last());
            return;
        }
        let index = match self.label_of(line) {
            Some(label) => self.flying_with_label(&label),
            None if command == "PRIVMSG" => self.find_flight(|_| true),
            None => None,
        };
        if let Some(index) = index {
            let reason = format!("the server refused the line: {}", line.last());
            self.settle(index, Err(Fault::refused(reason)));
        }
    }

    /// In place of the echo: solanum says so when it throttles.
    pub(super) fn on_labelled_notice(&mut self, label: &str, text: &str) {
        if let Some(index) = self.flying_with_label(label) {
            self.settle(index, Err(replies::notice(text)));
        }
    }

    pub(super) fn on_throttle_notice(&mut self, text: &str) {
        if !text.to_ascii_lowercase().contains("throttled due to flooding") {
            return;
        }
        let named = self.find_flight(|flight| text.contains(flight.target.as_str()));
        if let Some(index) = named.or_else(|| self.find_flight(|_| true)) {
            self.settle(index, Err(replies::notice(text)));
        }
    }
}
