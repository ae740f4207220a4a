//! The address of a PostgreSQL database, as libpq reads it, with one option of ours: the schema.

use std::path::PathBuf;

use tokio_postgres::Config;
use url::form_urlencoded;

const SCHEMA: &str = "deskbridge";
/// Those of libpq that mean something to us.
const OPTIONS: &str = "sslmode, sslrootcert, schema, application_name, connect_timeout, keepalives, keepalives_idle, \
                       keepalives_interval, keepalives_retries, tcp_user_timeout, hostaddr, channel_binding";

/// Debug shows no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    pub config: Config,
    pub schema: String,
    pub sslmode: SslMode,
    pub sslrootcert: Option<PathBuf>,
}

/// How a connection is kept secret; libpq's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl PostgresUrl {
    /// No mistake is told with a part of the text: it may be one of the password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (address, options) = text.split_once('?').unwrap_or((text, ""));
        let (mut schema, mut sslmode, mut sslrootcert) = (SCHEMA.to_owned(), SslMode::default(), None);
        let mut rest = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(options.as_bytes()) {
            match &*name {
                "schema" => schema = schema_of(&value)?,
                "sslmode" => sslmode = sslmode_of(&value)?,
                "sslrootcert" if !value.is_empty() => sslrootcert = Some(PathBuf::from(&*value)),
                _ => drop(rest.append_pair(&name, &value)),
            }
        }
        // A plus would be a plus there.
        let rest = rest.finish().replace('+', "%20");
        let whole = if rest.is_empty() { address.to_owned() } else { format!("{address}?{rest}") };
        let wrong = || {
            format!(
                "is no address such as postgres://user:password@host/database, or has an option that is not \
                                known (known: {OPTIONS}); what is special in a password is written as %40 for @"
            )
        };
        let config: Config = whole.parse().map_err(|_| wrong())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("names no server: write postgres://user:password@host/database".to_owned());
        }
        Ok(Self { config, schema, sslmode, sslrootcert })
    }
}

fn schema_of(value: &str) -> Result<String, String> {
    const BYTES_MAX: usize = 63;
    let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if value.is_empty() || value.len() > BYTES_MAX || !value.bytes().all(fits) || value.starts_with("pg_") {
        return Err("needs a schema of 1 to 63 of a-z, 0-9 and _, which does not begin with pg_".to_owned());
    }
    Ok(value.to_owned())
}

fn sslmode_of(value: &str) -> Result<SslMode, String> {
    Ok(match value {
        "disable" => SslMode::Disable,
        "allow" | "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => return Err("needs an sslmode of disable, prefer, require, verify-ca or verify-full".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_server_a_schema_and_what_keeps_it_secret() {
        let plain = PostgresUrl::parse("postgres://ann:p%40ss@db.example:5433/chatwoot").unwrap();
        assert_eq!(plain.config.get_password(), Some(&b"p@ss"[..]));
        assert_eq!((plain.config.get_ports(), plain.config.get_dbname()), (&[5433][..], Some("chatwoot")));
        assert_eq!((plain.schema.as_str(), plain.sslmode, plain.sslrootcert), ("deskbridge", SslMode::Prefer, None));
        let full =
            "postgresql://ann@a,b/x?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&schema=desk_2&connect_timeout=7";
        let full = PostgresUrl::parse(full).unwrap();
        assert_eq!((full.schema.as_str(), full.sslmode), ("desk_2", SslMode::VerifyFull));
        assert_eq!(full.sslrootcert, Some("/etc/ca.pem".into()));
        assert_eq!(full.config.get_connect_timeout(), Some(&std::time::Duration::from_secs(7)));
        assert_eq!(full.config.get_hosts().len(), 2);
    }

    #[test]
    fn a_wrong_address_is_told_without_a_word_of_it() {
        for wrong in [
            "postgres://c4nary",
            "postgres:///c4nary",
            "postgres://ann:c4nary@h:c4nary/x",
            "postgres://ann:c4n?c4nary@h/x",
            "postgres://ann:x@h/x?c4nary=1",
            "postgres://ann:x@h/x?sslmode=c4nary",
            "postgres://ann:x@h/x?schema=C4nary%20c4nary",
        ] {
            match PostgresUrl::parse(wrong) {
                Err(message) => assert!(!message.to_lowercase().contains("c4nary"), "{message}"),
                Ok(url) => assert_eq!(wrong, "postgres://c4nary", "{url:?}"),
            }
        }
        let shown = format!("{:?}", PostgresUrl::parse("postgres://ann:c4nary@h/x").unwrap());
        assert!(!shown.contains("c4nary"), "{shown}");
    }
}
