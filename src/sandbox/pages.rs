//! The pages that people open, each one file that loads nothing, and how they are shown.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Of an agent, of a customer who chats, and of customers who write mail.
pub(super) const AGENTS: &str = include_str!("page.html");
pub(super) const CUSTOMERS: &str = include_str!("customer.html");
pub(super) const MAIL: &str = include_str!("mail.html");
/// What all of them look like.
const STYLE: &str = include_str!("pages.css");

/// A page that can load nothing from elsewhere and run nothing but its own script.
pub(super) fn shown(page: &str) -> Response {
    let nonce = super::desk::token(&mut fastrand::Rng::new());
    shown_with(page, &nonce, &format!("'nonce-{nonce}'"))
}

/// As [`shown`], with any styles that are in the page or in a frame of it.
pub(super) fn shown_with_any_styles(page: &str) -> Response {
    shown_with(page, &super::desk::token(&mut fastrand::Rng::new()), "'unsafe-inline'")
}

fn shown_with(page: &str, nonce: &str, styles: &str) -> Response {
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src {styles}; connect-src 'self'; \
         img-src 'self' data:; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, page.replace("{{style}}\n", STYLE).replace("{{nonce}}", nonce)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_loads_anything_from_elsewhere_or_parses_remote_text_in_place() {
        for page in [AGENTS, CUSTOMERS, MAIL] {
            for word in
                ["http://", "https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!page.contains(word), "the page contains {word}");
            }
            assert_eq!(page.matches("{{nonce}}").count(), 2, "one style, one script");
            assert_eq!(page.matches("{{style}}\n").count(), 1, "the common style");
        }
    }
}
