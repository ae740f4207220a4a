//! Which Chatwoot it is, and what that one cannot do.

use super::{
    super::{
        address::{Leads, leads},
        advice::of_fault,
    },
    Look,
};

/// A version without its suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release(pub(super) u32, pub(super) u32, pub(super) u32);

/// The first that signs what it calls back.
pub(super) const SIGNS: Release = Release(4, 13, 0);
/// The first that has all calls without which nothing works.
const WORKS: Release = Release(3, 6, 0);
/// The first whose messages can be marked as delivered or failed.
const MARKS: Release = Release(4, 2, 0);
/// Refuses private callback addresses, and cannot be told otherwise.
const REFUSES_ALWAYS: Release = Release(4, 14, 0);

impl Release {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let numbers = text.split(['-', '+']).next()?;
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        Some(Self(major, minor, parts.next().unwrap_or(Some(0))?))
    }
}

/// A lack of a version, as a finding.
#[derive(Debug, PartialEq, Eq)]
enum Lack {
    Failed(&'static str, &'static str),
    Warning(&'static str, &'static str),
    /// Nothing to change yet.
    Known(&'static str),
}

/// What this version cannot do, here.
fn lacks(release: Release, has_path_token: bool, leads: Leads) -> Vec<Lack> {
    let mut lacks = Vec::new();
    if release < WORKS {
        lacks.push(Lack::Failed("it is too old: calls that the gateway needs came with 3.6", "update Chatwoot"));
    }
    if (WORKS..MARKS).contains(&release) {
        lacks.push(Lack::Warning("agents never see delivered or failed, which came with 4.2", "update Chatwoot"));
    }
    if release < SIGNS && has_path_token {
        lacks.push(Lack::Warning(
            "it signs no callbacks, so that only the path's token proves them",
            "update Chatwoot to 4.13 or later",
        ));
    }
    if release < SIGNS && !has_path_token {
        lacks.push(Lack::Failed(
            "it signs no callbacks, and unsigned ones are refused",
            "update Chatwoot to 4.13 or later, or set `callback_path_token` and run `deskbridge provision`",
        ));
    }
    if release == REFUSES_ALWAYS && leads == Leads::Private {
        lacks.push(Lack::Failed(
            "4.14.0 calls no private address, and the callback address is one",
            "update Chatwoot to 4.14.1 or later and set SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true for rails and sidekiq",
        ));
    }
    if release > REFUSES_ALWAYS && leads == Leads::Private {
        lacks.push(Lack::Known(
            "the callback address is private: it is called only with SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true for rails and sidekiq, which the round trip shows",
        ));
    }
    lacks
}

impl Look<'_> {
    pub(super) async fn version(&self) -> (Option<Release>, Leads) {
        let leads = match &self.settings.gateway.public_url {
            Some(url) => leads(url.url()).await,
            None => Leads::Nowhere,
        };
        let tried = "GET /api";
        let version = match self.client.version().await {
            Ok(version) => version,
            Err(fault) => {
                let words = of_fault(&fault);
                self.findings.failed(tried, words.found, words.change);
                return (None, leads);
            }
        };
        self.services(&version);
        let Some(release) = Release::parse(&version.version) else {
            self.findings.fine(tried, format!("Chatwoot {}, a version that is not known here", version.version));
            return (None, leads);
        };
        self.findings.fine(tried, format!("Chatwoot {}", version.version));
        let tried = "ask what this version cannot do";
        for lack in lacks(release, self.inbox.callback_path_token.is_some(), leads) {
            match lack {
                Lack::Failed(found, change) => self.findings.failed(tried, found, change),
                Lack::Warning(found, change) => self.findings.warning(tried, found, change),
                Lack::Known(found) => self.findings.fine(tried, found),
            }
        }
        (Some(release), leads)
    }

    fn services(&self, version: &crate::chatwoot::Version) {
        for (service, state, what) in [
            ("queue_services", &version.queue_services, "Redis, without which no callback is sent"),
            ("data_services", &version.data_services, "PostgreSQL, without which nothing is stored"),
        ] {
            let Some(state) = state.as_deref().filter(|state| *state != "ok") else { continue };
            let found = format!("{state:?}: {what}");
            self.findings.failed(format!("GET /api: {service}"), found, "look at this service of Chatwoot");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_with_and_without_a_suffix() {
        let cases = [
            ("4.15.1", Some(Release(4, 15, 1))),
            ("v4.14.0-ce", Some(Release(4, 14, 0))),
            ("4.16", Some(Release(4, 16, 0))),
            ("latest", None),
            ("", None),
            ("4", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Release::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn each_version_is_told_what_it_cannot_do_here() {
        let words = |release: (u32, u32, u32), token, leads| {
            let found = lacks(Release(release.0, release.1, release.2), token, leads);
            found
                .iter()
                .map(|lack| match lack {
                    Lack::Failed(found, _) => format!("failed {found}"),
                    Lack::Warning(found, _) => format!("warning {found}"),
                    Lack::Known(found) => format!("known {found}"),
                })
                .collect::<Vec<_>>()
                .join("; ")
        };
        assert_eq!(words((4, 15, 1), false, Leads::Public), "");
        assert!(words((3, 5, 9), true, Leads::Public).starts_with("failed it is too old"));
        assert!(words((4, 1, 0), true, Leads::Public).starts_with("warning agents never see"));
        assert!(words((4, 12, 9), false, Leads::Private).starts_with("failed it signs no callbacks"));
        assert!(words((4, 12, 9), true, Leads::Private).starts_with("warning it signs no callbacks"));
        assert_eq!(words((4, 13, 0), false, Leads::Private), "");
        assert!(words((4, 14, 0), false, Leads::Private).starts_with("failed 4.14.0"));
        assert_eq!(words((4, 14, 0), false, Leads::Public), "");
        assert!(words((4, 14, 1), false, Leads::Private).starts_with("known the callback address is private"));
    }
}
