//! The columns of a contact as a request gives them, and Chatwoot's validations of them.

use std::collections::HashMap;

use super::desk::Desk;
use super::params::Params;
use super::refusal::Refusal;

/// Chatwoot's bound on short text columns, in characters.
const SHORT_TEXT_CHARS_MAX: usize = 255;

impl Desk {
    /// Refuses what breaks a rule; `own` is the contact that the values may belong to already.
    pub(super) fn validate(&self, fields: &Fields, own: Option<u64>) -> Result<(), Refusal> {
        let mut faults = Faults { locale: self.settings.locale, texts: Vec::new(), attributes: Vec::new() };
        let taken =
            |index: &HashMap<String, u64>, text: &str| index.get(text).is_some_and(|holder| Some(*holder) != own);
        if let Some(email) = fields.email.text() {
            if !is_email(email) {
                faults.add("email", Rule::Invalid);
            }
            if taken(&self.contact_by_email, email) {
                faults.add("email", Rule::Taken);
            }
        }
        if let Some(identifier) = fields.identifier.text() {
            let taken = taken(&self.contact_by_identifier, identifier);
            if taken && identifier.is_empty() {
                // Validation lets a blank identifier pass; the database's index does not.
                return Err(Refusal::Internal);
            }
            if taken {
                faults.add("identifier", Rule::Taken);
            }
        }
        if let Some(phone) = fields.phone_number.text() {
            if !is_phone_number(phone) {
                faults.add("phone_number", Rule::Invalid);
            }
            if taken(&self.contact_by_phone, phone) {
                faults.add("phone_number", Rule::Taken);
            }
        }
        for (attribute, field) in [
            ("name", &fields.name),
            ("identifier", &fields.identifier),
            ("email", &fields.email),
            ("phone_number", &fields.phone_number),
        ] {
            let text = field.text().unwrap_or_default();
            if text.chars().count() > SHORT_TEXT_CHARS_MAX {
                faults.add(attribute, Rule::TooLong);
            }
        }
        faults.into_result()
    }
}

/// The text columns of a request.
pub(super) struct Fields {
    pub(super) name: Field,
    pub(super) identifier: Field,
    pub(super) email: Field,
    pub(super) phone_number: Field,
}

impl Fields {
    pub(super) fn read(params: &Params) -> Self {
        Self {
            name: Field::read(params, "name"),
            identifier: Field::read(params, "identifier"),
            email: Field::read(params, "email").blank_is_null().lowered(),
            phone_number: Field::read(params, "phone_number").blank_is_null(),
        }
    }
}

/// A column that a request may leave as it is.
pub(super) enum Field {
    Absent,
    Null,
    Text(String),
}

impl Field {
    fn read(params: &Params, key: &str) -> Self {
        match (params.values.contains_key(key), params.text(key)) {
            (false, _) => Self::Absent,
            (true, None) => Self::Null,
            (true, Some(text)) => Self::Text(text.to_owned()),
        }
    }

    fn blank_is_null(self) -> Self {
        if self.text().is_some_and(|text| text.trim().is_empty()) { Self::Null } else { self }
    }

    fn lowered(self) -> Self {
        if let Self::Text(text) = self { Self::Text(text.to_lowercase()) } else { self }
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// What the column holds afterwards.
    pub(super) fn or(self, kept: Option<String>) -> Option<String> {
        match self {
            Self::Absent => kept,
            Self::Null => None,
            Self::Text(text) => Some(text),
        }
    }
}

/// Language of validation texts; Chatwoot takes the account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Locale {
    #[default]
    English,
    German,
}

#[derive(Clone, Copy)]
enum Rule {
    Invalid,
    Taken,
    TooLong,
}

struct Faults {
    locale: Locale,
    texts: Vec<String>,
    attributes: Vec<&'static str>,
}

impl Faults {
    fn add(&mut self, attribute: &'static str, rule: Rule) {
        let label = match (self.locale, attribute) {
            (_, "email") => "Email",
            (_, "identifier") => "Identifier",
            (Locale::English, "phone_number") => "Phone number",
            (Locale::German, "phone_number") => "Telefonnummer",
            (_, _) => "Name",
        };
        let text = match (self.locale, rule) {
            (Locale::English, Rule::Invalid) if attribute == "phone_number" => "should be in e164 format",
            (Locale::English, Rule::Invalid) => "Invalid email",
            (Locale::English, Rule::Taken) => "has already been taken",
            (Locale::English, Rule::TooLong) => "is too long (maximum is 255 characters)",
            (Locale::German, Rule::Invalid) => "ist nicht gültig",
            (Locale::German, Rule::Taken) => "ist bereits vergeben",
            (Locale::German, Rule::TooLong) => "ist zu lang (mehr als 255 Zeichen)",
        };
        self.texts.push(format!("{label} {text}"));
        self.attributes.push(attribute);
    }

    fn into_result(self) -> Result<(), Refusal> {
        if self.texts.is_empty() {
            return Ok(());
        }
        Err(Refusal::Invalid { message: self.texts.join(", "), attributes: self.attributes })
    }
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !text.contains(char::is_whitespace)
}

fn is_phone_number(text: &str) -> bool {
    let Some((_, digits)) = text.rsplit_once('+') else { return false };
    (2..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0')
}
