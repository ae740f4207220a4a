//! What DNS says of our names: where mail for us goes, and what receivers of our answers look for (SPF, DKIM, DMARC).

use futures_util::future::join_all;

use super::{
    Look, Outcome, dkim, failed,
    names::{Mute, Names},
    quoted, warning,
};
use crate::verdict::authenticator;

/// Domains of ours whose servers are asked for.
const DOMAINS_MAX: usize = 10;

pub(super) async fn look(look: &Look<'_>) {
    let authenticator = match authenticator(look.settings) {
        Ok(authenticator) => authenticator,
        Err(fault) => {
            let change = "set `dns_servers`";
            return look.tell("ask DNS about our names", warning(fault.to_string(), change));
        }
    };
    let names = Names::new(&authenticator, look.limits.question);
    let (hostname, domain) = (&look.settings.hostname, look.identity.address.domain());
    let domains = domains(look);
    let (own, servers, spf, dmarc, dkim) = tokio::join!(
        host(&names, hostname),
        join_all(domains.iter().take(DOMAINS_MAX).map(|domain| servers(&names, domain, hostname))),
        spf(&names, domain),
        dmarc(&names, domain),
        dkim::look(look, &names),
    );
    look.tell(format!("find the address of our own name {hostname}"), told(own));
    for (domain, outcome) in domains.iter().zip(servers) {
        look.tell(format!("see where mail for {domain} goes (MX)"), told(outcome));
    }
    if domains.len() > DOMAINS_MAX {
        let found = format!("only the first {DOMAINS_MAX} domains of `addresses` are asked about");
        look.tell("see where mail for our other domains goes (MX)", Outcome::Skipped(found));
    }
    look.tell(format!("see who may send for {domain} (SPF)"), told(spf));
    look.tell(format!("see what {domain} asks receivers to do with forged mail (DMARC)"), told(dmarc));
    if let Some((tried, outcome)) = dkim {
        look.tell(tried, told(outcome));
    }
}

fn told(outcome: Result<Outcome, Mute>) -> Outcome {
    outcome.unwrap_or_else(Mute::told)
}

/// Of `addresses`, each once, in their order.
fn domains(look: &Look<'_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for domain in look.settings.addresses.iter().filter_map(|text| text.rsplit_once('@')) {
        let domain = domain.1.to_lowercase();
        if !found.contains(&domain) {
            found.push(domain);
        }
    }
    found
}

async fn host(names: &Names<'_>, hostname: &str) -> Result<Outcome, Mute> {
    if names.has_address(hostname).await? {
        return Ok(Outcome::Fine("it has one".to_owned()));
    }
    let change = format!("add an A or AAAA record for {hostname}: many servers refuse mail from a name without one");
    Ok(warning("it has none", change))
}

async fn servers(names: &Names<'_>, domain: &str, hostname: &str) -> Result<Outcome, Mute> {
    let add = format!("add `{domain}. MX 10 {hostname}.`, or the mail server that hands mail on to this bridge");
    let found = names.servers(domain).await?;
    let Some(first) = found.first() else {
        return Ok(if names.has_address(domain).await? {
            warning("there is no MX record, so it goes to the address of the domain itself", add)
        } else {
            failed("there is neither an MX record nor an address, so nobody can write to it", add)
        });
    };
    if first == "." {
        return Ok(failed("the domain says that it takes no mail (null MX)", add));
    }
    let name = quoted(first.trim_end_matches('.'));
    if names.has_address(first).await? {
        Ok(Outcome::Fine(format!("to {name}")))
    } else {
        Ok(failed(format!("to {name}, which has no address"), "correct the MX record, or add the address"))
    }
}

async fn spf(names: &Names<'_>, domain: &str) -> Result<Outcome, Mute> {
    let texts = names.texts(domain).await?;
    let records: Vec<&String> = texts.iter().filter(|text| is_spf(text)).collect();
    Ok(match records.as_slice() {
        [] => {
            let change = format!(
                "add a TXT record to {domain} that names the relay, for example `v=spf1 include:(what the relay's \
                 provider names) -all`"
            );
            warning("there is no SPF record, so many receivers distrust our answers", change)
        }
        [record] => Outcome::Fine(quoted(record)),
        several => {
            warning(format!("there are {} SPF records, which count as none", several.len()), "merge them into one")
        }
    })
}

fn is_spf(text: &str) -> bool {
    text.split(' ').next().is_some_and(|word| word.eq_ignore_ascii_case("v=spf1"))
}

/// At the domain itself or, where it has none, at a domain above it.
async fn dmarc(names: &Names<'_>, domain: &str) -> Result<Outcome, Mute> {
    let mut above = Some(domain);
    while let Some(name) = above.filter(|name| name.contains('.')) {
        let texts = names.texts(&format!("_dmarc.{name}")).await?;
        if let Some(record) = texts.iter().find(|text| text.trim_start().to_ascii_lowercase().starts_with("v=dmarc1")) {
            return Ok(Outcome::Fine(format!("at {name}: {}", quoted(record))));
        }
        above = name.split_once('.').map(|(_, rest)| rest);
    }
    let change =
        format!("add the TXT record `_dmarc.{domain}` with `v=DMARC1; p=none; rua=mailto:postmaster@{domain}`");
    Ok(warning("there is no DMARC record, so large providers may refuse our answers", change))
}
