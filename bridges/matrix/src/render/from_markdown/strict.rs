//! What Matrix allows in HTML, read by other means than those that write it: for tests and fuzz targets.

/// Reads the few forms that Matrix allows, strictly: every `<` begins an allowed tag that is closed in order, every
/// `&` one of four references, and an attribute stands only where it may.
pub(crate) fn strictly(html: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '>', '&', '"']) {
        rest = &rest[at..];
        if let Some(reference) = ["&lt;", "&gt;", "&amp;", "&quot;"].iter().find(|known| rest.starts_with(**known)) {
            rest = &rest[reference.len()..];
            continue;
        }
        let tag = rest.strip_prefix('<').ok_or_else(|| format!("bare {rest:.20}"))?;
        let (tag, after) = tag.split_once('>').ok_or("no end")?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes another"));
            }
        } else if !matches!(tag, "br" | "hr") {
            let name = allowed_name(tag).ok_or_else(|| format!("<{tag}>"))?;
            if open.len() == 100 || name == "a" && open.contains(&"a") {
                return Err(format!("<{tag}> in {open:?}"));
            }
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("{open:?} stay open")) }
}

/// The name in a start tag, if it and its one attribute are allowed.
fn allowed_name(tag: &str) -> Option<&str> {
    const NAMES: [&str; 20] = [
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "blockquote",
        "pre",
        "code",
        "ul",
        "ol",
        "li",
        "table",
        "tr",
        "th",
        "td",
        "strong",
        "em",
        "del",
    ];
    let Some((name, attribute)) = tag.split_once(' ') else { return NAMES.contains(&tag).then_some(tag) };
    let (key, value) = attribute.strip_suffix('"')?.split_once("=\"")?;
    let schemes = ["https://", "http://", "ftp://", "mailto:", "magnet:"];
    let fine = match (name, key) {
        ("a", "href") => schemes.iter().any(|scheme| value.starts_with(scheme)) && !value.contains(['"', ' ', '<']),
        ("ol", "start") => value.parse::<u64>().is_ok(),
        ("code", "class") => value.strip_prefix("language-").is_some_and(|name| !name.contains(['"', ' ', '&'])),
        _ => false,
    };
    fine.then_some(name)
}
