//! A strict reader of the Prometheus text format: what it takes, Prometheus takes. It shares nothing with the writer.

use std::collections::{BTreeMap, BTreeSet};

/// One series: its name, and its labels in their order.
pub(crate) type Series = (String, BTreeMap<String, String>);

/// What was printed.
pub(crate) struct Page {
    pub(crate) series: BTreeMap<Series, f64>,
    /// Name and kind.
    pub(crate) families: BTreeMap<String, String>,
}

impl Page {
    /// Fails with the first line that is not as it has to be.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if !text.ends_with('\n') {
            return Err("the last line has no end".into());
        }
        let mut reader = Reader::default();
        for line in text.lines() {
            reader.line(line).map_err(|reason| format!("{reason}: {line}"))?;
        }
        reader.end_family()?;
        let page = Self { series: reader.series, families: reader.families };
        page.histograms_add_up()?;
        Ok(page)
    }

    /// The value of one series, the labels in any order.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.series.get(&(name.to_owned(), labels)).copied()
    }

    fn histograms_add_up(&self) -> Result<(), String> {
        for ((name, labels), count) in &self.series {
            let Some(family) = name.strip_suffix("_count") else { continue };
            let bucket = format!("{family}_bucket");
            let mut buckets = Vec::new();
            for ((_, other), value) in self.series.iter().filter(|((of, _), _)| *of == bucket) {
                let mut rest = other.clone();
                let le = rest.remove("le").ok_or_else(|| format!("a bucket of {family} has no `le`"))?;
                if rest == *labels {
                    buckets.push((number(&le)?, *value));
                }
            }
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            let grows = buckets.is_sorted_by(|one, other| one.1 <= other.1);
            if !grows || buckets.last() != Some(&(f64::INFINITY, *count)) {
                return Err(format!("the buckets of {family} do not add up: {buckets:?}, {count}"));
            }
            if !self.series.contains_key(&(format!("{family}_sum"), labels.clone())) {
                return Err(format!("{family} has no sum"));
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Reader {
    series: BTreeMap<Series, f64>,
    families: BTreeMap<String, String>,
    /// Name, kind, and how many series so far.
    family: Option<(String, Option<String>, usize)>,
    ended: BTreeSet<String>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("help without words")?;
            self.end_family()?;
            if !is_name(name) || help.trim().is_empty() || self.ended.contains(name) {
                return Err("a help that cannot be".into());
            }
            self.family = Some((name.to_owned(), None, 0));
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("a type without a kind")?;
            let known = ["counter", "gauge", "histogram"].contains(&kind);
            return match &mut self.family {
                Some((family, of @ None, 0)) if family == name && known => {
                    *of = Some(kind.to_owned());
                    self.families.insert(name.to_owned(), kind.to_owned());
                    Ok(())
                }
                _ => Err("a type that stands alone".into()),
            };
        }
        self.sample(line)
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let (name, rest) = line.split_at(line.find(['{', ' ']).ok_or("no value")?);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (BTreeMap::new(), rest),
        };
        let value = number(value.strip_prefix(' ').ok_or("no value")?)?;
        let Some((family, Some(kind), count)) = &mut self.family else { return Err("a series without a type".into()) };
        let belongs = match kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{family}{end}")),
            "counter" => name == family && name.ends_with("_total") && value >= 0.0,
            _ => name == family && !name.ends_with("_total"),
        };
        if !belongs || !is_name(name) || !name.starts_with("deskbridge_") {
            return Err(format!("not a series of {family}, a {kind}"));
        }
        *count += 1;
        match self.series.insert((name.to_owned(), labels), value) {
            None => Ok(()),
            Some(_) => Err("the same series twice".into()),
        }
    }

    fn end_family(&mut self) -> Result<(), String> {
        match self.family.take() {
            None => Ok(()),
            Some((name, Some(_), 1..)) if self.ended.insert(name.clone()) => Ok(()),
            Some((name, ..)) => Err(format!("{name} is empty, has no type, or comes twice")),
        }
    }
}

/// What stands between the braces, and what stands behind them.
fn labels(mut rest: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    loop {
        let (name, behind) = rest.split_once("=\"").ok_or("a label without a value")?;
        let (value, behind) = quoted(behind)?;
        if !is_name(name) || name.contains(':') || labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("the label {name} cannot be"));
        }
        rest = match (behind.strip_prefix(','), behind.strip_prefix('}')) {
            (Some(next), _) => next,
            (_, Some(end)) => return Ok((labels, end)),
            (None, None) => return Err("labels without an end".into()),
        };
    }
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, escaped @ ('"' | '\\'))) => escaped,
                _ => return Err("an escape that is none".into()),
            }),
            other => value.push(other),
        }
    }
    Err("a label without an end".into())
}

fn number(text: &str) -> Result<f64, String> {
    let known = text.starts_with(|c: char| c.is_ascii_digit() || c == '-') || ["+Inf", "NaN"].contains(&text);
    if known { text.parse().map_err(|_| format!("`{text}` is no number")) } else { Err(format!("`{text}` is odd")) }
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

#[test]
fn the_reader_refuses_what_prometheus_would() {
    let head = "# HELP deskbridge_x_total Words.\n# TYPE deskbridge_x_total counter\n";
    let good = format!("{head}deskbridge_x_total{{a=\"b\\\"\\n\",c=\"}}\"}} 1\n");
    let page = Page::read(&good).unwrap();
    assert_eq!(page.value("deskbridge_x_total", &[("c", "}"), ("a", "b\"\n")]), Some(1.0));
    let series = "deskbridge_x_total{a=\"b\"} 1\n";
    for bad in [
        series.to_owned(),
        head.to_owned(),
        format!("{head}{series}{series}"),
        format!("{head}{series}{head}{series}"),
        format!("{head}{}", series.trim_end()),
        format!("{head}deskbridge_x_total{{a=\"b}} 1\n"),
        format!("{head}deskbridge_x_total{{a=\"b\"}} one\n"),
        format!("{head}deskbridge_x_total{{a=\"b\"}} -1\n"),
        format!("{head}deskbridge_x_total{{a=\"\\b\"}} 1\n"),
        format!("{head}deskbridge_y_total{{a=\"b\"}} 1\n"),
        "# HELP other_total Words.\n# TYPE other_total counter\nother_total 1\n".to_owned(),
        "# HELP deskbridge_h W.\n# TYPE deskbridge_h histogram\ndeskbridge_h_bucket{le=\"1\"} 2\n\
         deskbridge_h_bucket{le=\"+Inf\"} 1\ndeskbridge_h_sum 1\ndeskbridge_h_count 1\n"
            .to_owned(),
    ] {
        assert!(Page::read(&bad).is_err(), "{bad}");
    }
}
