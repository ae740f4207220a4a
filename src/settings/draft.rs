//! Settings of an installation that is still being made: an inbox may lack its number, and the file that will hold its
//! secret need not be there yet. Only what makes these reads settings so.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{
    Faults, Kinds, Settings,
    document::{Document, KeyPath},
    load::{read_file, read_prepared},
    schema::file_key,
};

/// Settings with gaps that are known.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Where a number is missing, one stands that is nobody's; where a secret is to come from a file, there is none.
    pub settings: Settings,
    /// By name.
    pub inboxes: BTreeMap<String, DraftInbox>,
}

/// What is not there yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftInbox {
    /// The number that the settings name.
    pub inbox_id: Option<u64>,
    /// Where the callback secret is kept, or will be.
    pub secret_file: Option<PathBuf>,
}

const NUMBER: &str = "inbox_id";
const SECRET: &str = "callback_secret";
/// From here downwards: numbers for inboxes that have none yet, since two must not have the same.
const NUMBER_MAX: i64 = u32::MAX as i64;

/// As [`load`](super::load), with those gaps.
pub fn load_draft(
    file: &Path,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    kinds: &dyn Kinds,
) -> Result<Draft, Faults> {
    let name = file.display().to_string();
    draft_text(&name, &read_file(file)?, variables, kinds)
}

fn draft_text(
    name: &str,
    text: &str,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    kinds: &dyn Kinds,
) -> Result<Draft, Faults> {
    let mut inboxes = BTreeMap::new();
    let settings = read_prepared(name, text, variables, kinds, |table| {
        let Some(Value::Table(rooms)) = table.get_mut("inboxes") else { return };
        for (place, (name, inbox)) in rooms.iter_mut().enumerate() {
            if let Value::Table(inbox) = inbox {
                inboxes.insert(name.clone(), bridged(inbox, place as i64));
            }
        }
    })?;
    Ok(Draft { settings, inboxes })
}

/// Bridges the gaps of one inbox.
fn bridged(inbox: &mut Table, place: i64) -> DraftInbox {
    let mut draft = DraftInbox::default();
    match inbox.get(NUMBER) {
        None | Some(Value::Integer(0)) => {
            inbox.insert(NUMBER.to_owned(), Value::Integer(NUMBER_MAX - place));
        }
        Some(number) => draft.inbox_id = number.as_integer().and_then(|number| number.try_into().ok()),
    }
    let file_key = file_key(SECRET);
    // Both at once stay, and are refused.
    if !inbox.contains_key(SECRET)
        && let Some(Value::String(file)) = inbox.get(&file_key)
    {
        draft.secret_file = Some(PathBuf::from(file));
        inbox.remove(&file_key);
    }
    draft
}

/// The text of a settings file with the number of an inbox in it; all else stays as it is written. `None` where that
/// inbox has no table of its own.
pub fn with_inbox_id(text: &str, name: &str, inbox_id: u64) -> Option<String> {
    let (room, number) = (KeyPath::of(&["inboxes", name]), KeyPath::of(&["inboxes", name, NUMBER]));
    let document = Document::read(text);
    let changed = if let Some(spot) = document.spots.get(&number) {
        format!("{}{inbox_id}{}", &text[..spot.value.start], &text[spot.value.end..])
    } else {
        let header = document.spots.get(&room)?.key.start;
        let line_start = text[..header].rfind('\n').map_or(0, |at| at + 1);
        if !text[line_start..header].trim_start().starts_with('[') {
            return None;
        }
        let behind = text[header..].find('\n').map_or(text.len(), |at| header + at + 1);
        let break_before = if text[..behind].ends_with('\n') { "" } else { "\n" };
        format!("{}{break_before}{NUMBER} = {inbox_id}\n{}", &text[..behind], &text[behind..])
    };
    let read = Document::read(&changed);
    let says = read.table.get("inboxes")?.get(name)?.get(NUMBER)?.as_integer() == Some(inbox_id as i64);
    (says && read.broken.is_empty()).then_some(changed)
}

#[cfg(test)]
mod tests {
    use super::{super::stub::OnlyStub, *};

    const GOOD: &str =
        "[inboxes.support]\nurl = 'http://rails:3000'\naccount_id = 1\ninbox_id = 7\napi_access_token = 'x'\n";

    fn draft(text: &str) -> Result<Draft, Faults> {
        draft_text("desk.toml", text, Vec::new(), &OnlyStub)
    }

    #[test]
    fn what_is_still_to_come_may_be_missing_and_nothing_else() {
        let without = GOOD.replace("inbox_id = 7", "callback_secret_file = '/nowhere/secret'");
        let read = draft(&without).unwrap();
        let expected = DraftInbox { inbox_id: None, secret_file: Some("/nowhere/secret".into()) };
        assert_eq!(read.inboxes["support"], expected);
        assert!(read.settings.inboxes["support"].callback_secret.is_none());
        let zero = draft(&GOOD.replace("inbox_id = 7", "inbox_id = 0")).unwrap();
        assert_eq!(zero.inboxes["support"], DraftInbox::default());
        let whole = draft(GOOD).unwrap();
        assert_eq!(whole.inboxes["support"].inbox_id, Some(7));
        for wrong in ["inbox_id = -1", "inbox_id = 'x'", "inbox_id = 7\naccount = 1"] {
            draft(&GOOD.replace("inbox_id = 7", wrong)).map(drop).expect_err(wrong);
        }
        let both = GOOD.replace("inbox_id = 7", "callback_secret = 'x'\ncallback_secret_file = '/x'");
        assert!(draft(&both).map(drop).unwrap_err().to_string().contains("beside `callback_secret`"));
    }

    #[test]
    fn a_number_is_written_where_it_belongs_and_all_else_stays() {
        let cases = [
            (
                "# mine\n[inboxes.support] # here\nurl = 'x'\n[log]\n",
                Some("# mine\n[inboxes.support] # here\ninbox_id = 9\nurl = 'x'\n[log]\n"),
            ),
            ("[inboxes.support]\ninbox_id = 0 # soon\n", Some("[inboxes.support]\ninbox_id = 9 # soon\n")),
            ("[inboxes.support]", Some("[inboxes.support]\ninbox_id = 9\n")),
            ("[inboxes]\nsupport = { url = 'x' }\n", None),
            ("[inboxes.other]\n", None),
        ];
        for (text, expected) in cases {
            assert_eq!(with_inbox_id(text, "support", 9).as_deref(), expected, "{text}");
        }
    }
}
