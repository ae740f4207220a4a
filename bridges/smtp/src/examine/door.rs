//! One of our own listeners, as a client meets it: greeting, TLS, whether it takes our mail, and that it carries nobody
//! else's. No mail is handed over: each ends before its data.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Look, Outcome, failed, listeners::Way, talk::Talk, warning, within};
use crate::{
    client::{Offers, Reply, Wire},
    settings::TlsSettings,
    tls::certificates,
};

/// Names that are nobody's (RFC 2606).
const FOREIGN: &str = "relay-test.example";

pub(super) async fn look(look: &Look<'_>, way: Way, tried: &str, tcp: TcpStream) {
    let limit = look.limits.door;
    let talk = match (way, &look.settings.tls) {
        (Way::Tls, Some(files)) => secure(look, Box::new(tcp), files).await.map(|wire| Talk::new(wire, limit)),
        _ => Some(Talk::plain(tcp, limit)),
    };
    let Some(mut talk) = talk else { return };
    match greet(look, way, &mut talk).await {
        Ok(offers) => {
            look.tell(tried, Outcome::Fine("it greets, and answers".to_owned()));
            if let Some(talk) = start_tls(look, way, talk, &offers).await {
                mails(look, talk).await;
            }
        }
        Err(why) => look.tell(tried, failed(why, "see in the gateway's log why; another program may listen there")),
    }
}

async fn greet(look: &Look<'_>, way: Way, talk: &mut Talk) -> Result<Offers, String> {
    let greeting = talk.hear().await?;
    if greeting.code != 220 {
        return Err(format!("it does not greet: {}", greeting.words(&[])));
    }
    let verb = if way == Way::Lmtp { "LHLO" } else { "EHLO" };
    let hello = talk.say(&format!("{verb} {}", look.settings.hostname)).await?;
    if hello.code != 250 {
        return Err(format!("it does not answer {verb}: {}", hello.words(&[])));
    }
    Ok(Offers::read(&hello.lines))
}

/// The same conversation under TLS, where there is to be one.
async fn start_tls(look: &Look<'_>, way: Way, mut talk: Talk, offers: &Offers) -> Option<Talk> {
    let Some(files) = look.settings.tls.as_ref().filter(|_| way == Way::Smtp) else { return Some(talk) };
    let tried = "have the running gateway offer STARTTLS";
    let restart = "restart the gateway, so that it runs with these settings";
    if !offers.starttls {
        look.tell(tried, failed("it does not, though `tls` is set", restart));
        return Some(talk);
    }
    match talk.say("STARTTLS").await {
        Ok(reply) if reply.code == 220 => {}
        Ok(reply) => {
            look.tell(tried, failed(reply.words(&[]), restart));
            return None;
        }
        Err(why) => {
            look.tell(tried, failed(why, restart));
            return None;
        }
    }
    let wire = secure(look, talk.into_wire()?, files).await?;
    let mut talk = Talk::new(wire, look.limits.door);
    // The greeting came before.
    let hello = talk.say(&format!("EHLO {}", look.settings.hostname)).await;
    hello.is_ok_and(|reply| reply.code == 250).then_some(talk)
}

/// Whoever serves the certificate of the settings is the running gateway.
async fn secure(look: &Look<'_>, wire: Box<dyn Wire>, files: &TlsSettings) -> Option<Box<dyn Wire>> {
    let tried = "secure a connection to the running gateway by TLS";
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let config = config.expect("ring offers TLS 1.2 and 1.3").dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth();
    let name = ServerName::try_from(look.settings.hostname.clone()).ok()?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, wire);
    let stream = match within(look.limits.handshake, handshake).await {
        Ok(stream) => stream,
        Err(why) => {
            look.tell(tried, failed(why, "see in the gateway's log why"));
            return None;
        }
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let ours = certificates("tls.cert_file", &files.cert_file).ok();
    let same = shown.is_some() && shown == ours.as_ref().and_then(|chain| chain.first());
    look.tell(
        tried,
        if same {
            Outcome::Fine("it shows the certificate of `tls.cert_file`".to_owned())
        } else {
            let change = "see in the gateway's log whether it could read the new files";
            warning("it shows another certificate than `tls.cert_file` holds now", change)
        },
    );
    Some(Box::new(stream))
}

async fn mails(look: &Look<'_>, mut talk: Talk) {
    let ours = look.identity.address.as_str();
    let tried = format!("have the running gateway take mail for {ours}");
    match recipient(&mut talk, ours).await {
        Ok(reply) if reply.code / 100 == 2 => look.tell(tried, Outcome::Fine("it does".to_owned())),
        Ok(reply) if reply.code / 100 == 4 => {
            let change = "see in the gateway's log what it waits for: the disk or the spool may be full";
            look.tell(tried, warning(format!("it puts it off: {}", reply.words(&[ours])), change));
        }
        Ok(reply) => {
            let change = "restart the gateway, so that it runs with these settings";
            look.tell(tried, failed(reply.words(&[ours]), change));
        }
        Err(why) => return look.tell(tried, failed(why, "see in the gateway's log why")),
    }
    let tried = "have our own server carry foreign mail";
    match carries_foreign(look, &mut talk).await {
        Ok(None) => look.tell(tried, Outcome::Fine("it refuses".to_owned())),
        Ok(Some(form)) => {
            let change = "stop it: whatever listens there is an open relay, and not this gateway";
            look.tell(tried, failed(format!("it takes mail for {form}"), change));
        }
        Err(why) => look.tell(tried, Outcome::Skipped(why)),
    }
    talk.leave(look.limits.goodbye).await;
}

/// The first foreign recipient that it takes.
async fn carries_foreign(look: &Look<'_>, talk: &mut Talk) -> Result<Option<String>, String> {
    let domain = look.identity.address.domain();
    let mut forms = vec![format!("postmaster@{FOREIGN}"), format!("@{domain}:postmaster@{FOREIGN}")];
    // Where every name of the domain is ours, this is one of them.
    if !look.settings.addresses.iter().any(|text| text.starts_with('@')) {
        forms.push(format!("postmaster%{FOREIGN}@{domain}"));
        forms.push(format!("\"postmaster@{FOREIGN}\"@{domain}"));
    }
    for form in forms {
        if recipient(talk, &form).await?.code / 100 == 2 {
            return Ok(Some(form));
        }
    }
    Ok(None)
}

/// What is said to this recipient, of a mail that then is none.
async fn recipient(talk: &mut Talk, address: &str) -> Result<Reply, String> {
    let sender = talk.say("MAIL FROM:<>").await?;
    if sender.code / 100 != 2 {
        return Err(format!("it takes no mail now: {}", sender.words(&[])));
    }
    let reply = talk.say(&format!("RCPT TO:<{address}>")).await?;
    talk.say("RSET").await?;
    Ok(reply)
}

/// Takes every certificate: which one it is, is looked at afterwards.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
