//! The dashboard and the alert rules speak only of what `/metrics` prints.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{exposition::Page, metrics::scrape, world::World};

const DASHBOARD: &str = include_str!("../../deploy/grafana/deskbridge.json");
const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yml");

/// An alert rule, as far as it was written.
#[derive(Debug, Default)]
struct Rule {
    name: String,
    expression: String,
    lasts: String,
    severity: String,
    summary: String,
}

/// Reads the one form in which the file is written; anything else in it is a fault.
fn rules(text: &str) -> Result<Vec<Rule>, String> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        let (key, value) = rest.split_once(':').ok_or_else(|| format!("no key: {line}"))?;
        let value = value.trim();
        let quoted = || {
            let inner = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            inner.filter(|inner| !inner.contains('\'')).map(str::to_owned).ok_or_else(|| format!("not quoted: {line}"))
        };
        let rule = rules.last_mut();
        match (indent.len(), key, rule) {
            (0, "groups", _) | (2, "- name", _) | (4, "rules", _) | (8, "annotations", Some(_)) => {}
            (6, "- alert", _) => rules.push(Rule { name: value.to_owned(), ..Rule::default() }),
            (8, "expr", Some(rule)) => rule.expression = quoted()?,
            (8, "for", Some(rule)) => value.clone_into(&mut rule.lasts),
            (8, "labels", Some(rule)) => {
                let severity = value.strip_prefix("{ severity: ").and_then(|rest| rest.strip_suffix(" }"));
                severity.unwrap_or_default().clone_into(&mut rule.severity);
            }
            (10, "summary", Some(rule)) => rule.summary = quoted()?,
            _ => return Err(format!("unexpected: {line}")),
        }
    }
    Ok(rules)
}

/// Every string under a key that holds an expression.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let named = ["expr", "query", "definition"].into_iter().filter_map(|key| fields.get(key)?.as_str());
            found.extend(named.map(str::to_owned));
            fields.values().for_each(|value| expressions(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Names and matchers in an expression, each held against what was printed. Returns the names.
fn hold(expression: &str, page: &Page) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    for (at, _) in expression.match_indices("deskbridge_") {
        let rest = &expression[at..];
        let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        let labels: Vec<_> =
            page.series.keys().filter(|(series, _)| *series == name).map(|(_, labels)| labels).collect();
        if labels.is_empty() {
            return Err(format!("{name} is not printed"));
        }
        let matchers =
            rest[name.len()..].strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(inner, _)| inner);
        for matcher in matchers.unwrap_or_default().split(',').filter(|matcher| !matcher.is_empty()) {
            let (label, value) = matcher.split_once('=').ok_or_else(|| format!("no matcher: {matcher}"))?;
            let value = value.trim_start_matches('~').trim_matches('"');
            let has = |value: &str| labels.iter().any(|labels| labels.get(label).is_some_and(|held| held == value));
            let known = if value.starts_with('$') { labels[0].contains_key(label) } else { value.split('|').all(has) };
            if !known {
                return Err(format!("{name} has no {matcher}"));
            }
        }
        names.insert(name);
    }
    let known: BTreeSet<&str> = page.series.keys().flat_map(|(_, labels)| labels.keys().map(String::as_str)).collect();
    for by in expression.split("by (").skip(1).filter_map(|rest| rest.split_once(')')) {
        if let Some(odd) = by.0.split(',').map(str::trim).find(|label| !known.contains(label)) {
            return Err(format!("no series has the label {odd}"));
        }
    }
    Ok(names)
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_know_only_what_is_printed_and_most_of_it() {
    let (_, page) = scrape(&World::new().await).await;
    let mut used = BTreeSet::new();
    let (mut all, dashboard) = (Vec::new(), serde_json::from_str(DASHBOARD).unwrap());
    expressions(&dashboard, &mut all);
    assert!(all.len() > 30, "{} expressions", all.len());
    let rules = rules(ALERTS).unwrap();
    all.extend(rules.iter().map(|rule| rule.expression.clone()));
    for expression in all.iter().filter(|expression| *expression != "prometheus") {
        used.extend(hold(expression, &page).unwrap_or_else(|reason| panic!("{reason}, in {expression}")));
    }
    // What nobody looks at need not be printed.
    let histogram = |family: &String| used.contains(&format!("{family}_bucket"));
    let unused: Vec<_> = page.families.keys().filter(|family| !used.contains(*family) && !histogram(family)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn each_alert_waits_has_a_severity_and_says_what_to_do() {
    let rules = rules(ALERTS).unwrap();
    assert!(rules.len() >= 15, "{} rules", rules.len());
    let names: BTreeSet<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names.len(), rules.len());
    for rule in &rules {
        let lasts = rule.lasts.strip_suffix(['m', 'h']).is_some_and(|number| number.parse::<u32>().is_ok());
        let severe = ["warning", "critical"].contains(&rule.severity.as_str());
        assert!(lasts && severe && rule.expression.contains("deskbridge_"), "{rule:?}");
        assert!(rule.summary.contains(": ") && rule.summary.len() > 60, "{rule:?}");
    }
}

#[tokio::test]
async fn a_name_or_a_word_that_is_not_printed_is_found() {
    let (_, page) = scrape(&World::new().await).await;
    for wrong in [
        "deskbridge_no_such_total",
        "deskbridge_bridge_state{state=\"upp\"}",
        "deskbridge_bridge_state{inbox=\"$inbox\"}",
        "sum by (nobody) (deskbridge_dead_letters)",
    ] {
        assert!(hold(wrong, &page).is_err(), "{wrong}");
    }
    for wrong in ["groups:\n\t- name: x\n", "groups:\n  - name: x\n    rules:\n      - alert: A\n        expr: up\n"] {
        assert!(rules(wrong).is_err(), "{wrong}");
    }
}
