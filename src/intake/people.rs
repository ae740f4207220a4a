//! Who bears a name, as far as the bridges have written it down: for operators who look for somebody.

use bridge_api::BridgeName;

use super::Intake;
use crate::store::StoreError;

/// Shorter ones are in too many names.
const NAME_CHARS_MIN: usize = 2;

impl Intake {
    /// For each person of whose names and addresses the text is a part: the bridge, and a word that the names of their
    /// threads hold.
    pub async fn people_named(&self, text: &str, count_max: usize) -> Result<Vec<(BridgeName, String)>, StoreError> {
        let wanted = text.to_lowercase();
        let mut found = Vec::new();
        if wanted.chars().count() < NAME_CHARS_MIN {
            return Ok(found);
        }
        // As it stands in what is kept, so that only what may fit is read.
        let written = serde_json::Value::from(wanted.as_str()).to_string();
        let written = written.trim_matches('"');
        let mut names = self.routes.names_of(|_| true);
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        for name in names {
            let Some(route) = self.routes.find(&name) else { continue };
            let Some(prefix) = route.bridge.people() else { continue };
            for cursor in self.store.cursors(name.as_str(), prefix).await? {
                let may_fit = cursor.value.as_ref().is_some_and(|value| value.to_lowercase().contains(written));
                // A mask is written in parts.
                let Some((names, word)) =
                    (may_fit || wanted.contains('!')).then(|| route.bridge.person(&cursor)).flatten()
                else {
                    continue;
                };
                if names.iter().any(|name| name.to_lowercase().contains(&wanted)) {
                    found.push((name.clone(), word));
                }
                if found.len() >= count_max {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}
