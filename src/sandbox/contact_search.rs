//! Which contacts a filter or a search means. Pure.

use serde_json::Value;

use super::desk::Contact;
use super::params::Params;
use super::refusal::Refusal;

/// Conditions of one filter.
const CONDITIONS_MAX: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    EqualTo,
    NotEqualTo,
    Contains,
    DoesNotContain,
    IsPresent,
    IsNotPresent,
}

impl Operator {
    fn named(name: &str) -> Option<Self> {
        match name {
            "equal_to" => Some(Self::EqualTo),
            "not_equal_to" => Some(Self::NotEqualTo),
            "contains" => Some(Self::Contains),
            "does_not_contain" => Some(Self::DoesNotContain),
            "is_present" => Some(Self::IsPresent),
            "is_not_present" => Some(Self::IsNotPresent),
            _ => None,
        }
    }
}

/// One line of `contacts/filter`.
pub(super) struct Condition {
    key: String,
    operator: Operator,
    values: Vec<String>,
    /// Joined to the next line by "or" instead of "and".
    or: bool,
}

const KEYS: [&str; 5] = ["name", "phone_number", "email", "identifier", "blocked"];

impl Condition {
    pub(super) fn read_all(params: &Params) -> Result<Vec<Self>, Refusal> {
        let lines = params.values.get("payload").and_then(Value::as_array);
        let lines = lines.ok_or_else(|| Refusal::Unprocessable("param is missing: payload".to_owned()))?;
        if lines.len() > CONDITIONS_MAX {
            return Err(Refusal::Unprocessable("too many conditions".to_owned()));
        }
        lines.iter().map(Self::read).collect()
    }

    fn read(line: &Value) -> Result<Self, Refusal> {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        let key = text("attribute_key").to_owned();
        if !KEYS.contains(&key.as_str()) {
            let text = format!("Invalid attribute key - [{key}]. The key should be one of [{}]", KEYS.join(","));
            return Err(Refusal::Unprocessable(text));
        }
        let operator = Operator::named(text("filter_operator")).ok_or_else(|| {
            Refusal::Unprocessable(format!("Invalid operator. The allowed operators for {key} are [equal_to,…]."))
        })?;
        let values = line.get("values").and_then(Value::as_array).into_iter().flatten().map(lowered).collect();
        Ok(Self { key, operator, values, or: text("query_operator").eq_ignore_ascii_case("or") })
    }

    fn holds(&self, contact: &Contact) -> bool {
        let field = match self.key.as_str() {
            "name" => Some(contact.name.clone()),
            "email" => contact.email.clone(),
            "identifier" => contact.identifier.clone(),
            "blocked" => Some(contact.blocked.to_string()),
            _ => contact.phone_number.clone(),
        };
        let field = field.filter(|text| !text.is_empty()).map(|text| text.to_lowercase());
        let among = || field.as_ref().is_some_and(|field| self.values.contains(field));
        let within =
            || field.as_ref().is_some_and(|field| self.values.iter().any(|value| field.contains(value.as_str())));
        match self.operator {
            Operator::EqualTo => among(),
            Operator::NotEqualTo => !among(),
            Operator::Contains => within(),
            Operator::DoesNotContain => !within(),
            Operator::IsPresent => field.is_some(),
            Operator::IsNotPresent => field.is_none(),
        }
    }
}

/// Both sides are lower-cased: a filter cannot tell cases apart.
fn lowered(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_lowercase)
}

/// "And" binds tighter than "or", as in the SQL that Chatwoot makes of it.
pub(super) fn matches(contact: &Contact, conditions: &[Condition]) -> bool {
    let mut group = true;
    for condition in conditions {
        group = group && condition.holds(contact);
        if condition.or {
            if group {
                return true;
            }
            group = true;
        }
    }
    group
}

/// `ILIKE '%text%'` over name, e-mail and phone number, `LIKE` over the identifier.
pub(super) fn matches_text(contact: &Contact, text: &str) -> bool {
    let lower = text.to_lowercase();
    let within = |field: Option<&String>| field.is_some_and(|field| field.to_lowercase().contains(&lower));
    within(Some(&contact.name))
        || within(contact.email.as_ref())
        || within(contact.phone_number.as_ref())
        || contact.identifier.as_ref().is_some_and(|identifier| identifier.contains(text))
}
