//! What is quoted is cut, in many languages, and what may not be stays.

use proptest::prelude::*;

use super::{
    super::{html, markdown::joined, mime::Params, plain},
    *,
};

fn cut_lines(lines: &[Line], subject: &str) -> Option<String> {
    kept(lines, subject).map(|kept| joined(&lines[..kept]))
}

fn cut(text: &str) -> Option<String> {
    cut_lines(&plain::lines(text, &Params::default()), "Re: x")
}

fn cut_html(text: &str) -> Option<String> {
    cut_lines(&html::shown(text, &|_| None).lines, "Re: x")
}

#[test]
fn attributions_are_known_in_many_languages() {
    for attribution in [
        "On Mon, Jan 1, 2024 at 10:00 AM Ada L <ada@c.test> wrote:",
        "On 01.01.24 10:00, Ada wrote:",
        "Am Mo., 1. Jan. 2024 um 10:00 Uhr schrieb Ada L <ada@c.test>:",
        "Am 01.01.24 um 10:00 schrieb Ada:",
        "Le lun. 1 janv. 2024 à 10:00, Ada <ada@c.test> a écrit :",
        "El lun, 1 ene 2024 a las 10:00, Ada (<ada@c.test>) escribió:",
        "Il giorno lun 1 gen 2024 alle ore 10:00 Ada <ada@c.test> ha scritto:",
        "Em seg., 1 de jan. de 2024 às 10:00, Ada <ada@c.test> escreveu:",
        "Op ma 1 jan 2024 om 10:00 schreef Ada <ada@c.test>:",
        "Den mån 1 jan. 2024 kl 10:00 skrev Ada <ada@c.test>:",
        "Den man. 1. jan. 2024 kl. 10.00 skrev Ada <ada@c.test>:",
        "ma 1. tammik. 2024 klo 10.00 Ada (ada@c.test) kirjoitti:",
        "pon., 1 sty 2024 o 10:00 Ada <ada@c.test> napisał(a):",
        "po 1. 1. 2024 v 10:00 odesílatel Ada <ada@c.test> napsal:",
        "po 1. 1. 2024 o 10:00 Ada <ada@c.test> napísal(a):",
        "Ada <ada@c.test> ezt írta (időpont: 2024. jan. 1., H, 10:00):",
        "În lun., 1 ian. 2024 la 10:00, Ada <ada@c.test> a scris:",
        "пн, 1 янв. 2024 г. в 10:00, Ada <ada@c.test>:\u{a0}написал:",
        "1 января 2024, 10:00, Ada пишет:",
        "пн, 1 січ. 2024 р. о 10:00 Ada <ada@c.test> пише:",
        "На пн, 1.01.2024 г. в 10:00 Ada <ada@c.test> написа:",
        "Ada <ada@c.test>, 1 Oca 2024 Pzt, 10:00 tarihinde şunu yazdı:",
        "Στις Δευ 1 Ιαν 2024 στις 10:00, Ada <ada@c.test> έγραψε:",
        "2024年1月1日(月) 10:00 Ada <ada@c.test>さんは書きました:",
        "Ada <ada@c.test> 于2024年1月1日周一 10:00写道：",
        "2024년 1월 1일 (월) 오전 10:00, Ada <ada@c.test>님이 작성:",
        "Vào Th 2, 1 thg 1, 2024 vào lúc 10:00 Ada <ada@c.test> đã viết:",
        "Pada Sen, 1 Jan 2024 pukul 10:00 Ada <ada@c.test> menulis:",
    ] {
        assert_eq!(
            cut(&format!("Yes, please.\n\n{attribution}\n\n> old\n> text\n")).as_deref(),
            Some("Yes, please."),
            "{attribution}"
        );
        // Some programs quote without a mark.
        assert_eq!(
            cut(&format!("Yes, please.\n\n{attribution}\nold\ntext\n")).as_deref(),
            Some("Yes, please."),
            "{attribution}"
        );
        // Long ones are wrapped.
        let middle = attribution
            .char_indices()
            .filter(|(at, c)| *c == ' ' && *at > attribution.len() / 2)
            .map(|(at, _)| at)
            .next();
        if let Some(middle) = middle.filter(|_| !attribution.starts_with("Ada")) {
            let (first, second) = attribution.split_at(middle);
            assert_eq!(
                cut(&format!("Yes.\n\n{first}\n{}\n\n> old\n", second.trim())).as_deref(),
                Some("Yes."),
                "{attribution}"
            );
        }
    }
}

#[test]
fn heads_and_rules_of_earlier_mails_are_known() {
    for history in [
        "-----Original Message-----\nFrom: Ada\nold",
        "----- Ursprüngliche Nachricht -----\nold",
        "-------- Message d'origine --------\nold",
        "-------- Message d\u{2019}origine --------\nold",
        "-----Mensaje original-----\nold",
        "-----Messaggio originale-----\nold",
        "-----Mensagem original-----\nold",
        "-----Oorspronkelijk bericht-----\nold",
        "-----Ursprungligt meddelande-----\nold",
        "-----Oprindelig meddelelse-----\nold",
        "-----Alkuperäinen viesti-----\nold",
        "-----Wiadomość oryginalna-----\nold",
        "-----Původní zpráva-----\nold",
        "-----Eredeti üzenet-----\nold",
        "-----Исходное сообщение-----\nold",
        "-----Orijinal Mesaj-----\nold",
        "-----元のメッセージ-----\nold",
        "------------------ 原始邮件 ------------------\nold",
        "From: Ada <ada@c.test>\nSent: Monday, 1 January 2024 10:00\nTo: Bob\nSubject: x\n\nold",
        "*From:* Ada\n*Date:* Monday\n*To:* Bob\n*Subject:* x\nold",
        "Von: Ada\nGesendet: Montag\nAn: Bob\nBetreff: x\nold",
        "De : Ada\nEnvoyé : lundi\nÀ : Bob\nObjet : x\nold",
        "De: Ada\nEnviado el: lunes\nPara: Bob\nAsunto: x\nold",
        "Da: Ada\nInviato: lunedì\nA: Bob\nOggetto: x\nold",
        "De: Ada\nEnviada em: segunda\nPara: Bob\nAssunto: x\nold",
        "Van: Ada\nVerzonden: maandag\nAan: Bob\nOnderwerp: x\nold",
        "Från: Ada\nSkickat: måndag\nTill: Bob\nÄmne: x\nold",
        "Fra: Ada\nSendt: mandag\nTil: Bob\nEmne: x\nold",
        "Lähettäjä: Ada\nLähetetty: maanantai\nVastaanottaja: Bob\nAihe: x\nold",
        "Od: Ada\nWysłano: poniedziałek\nDo: Bob\nTemat: x\nold",
        "Od: Ada\nOdesláno: pondělí\nKomu: Bob\nPředmět: x\nold",
        "От: Ada\nОтправлено: понедельник\nКому: Bob\nТема: x\nold",
        "Kimden: Ada\nGönderildi: Pazartesi\nKime: Bob\nKonu: x\nold",
        "差出人: Ada\n送信日時: 月曜日\n宛先: Bob\n件名: x\nold",
        "发件人：Ada\n发送时间：2024年\n收件人：Bob\n主题：x\nold",
        "________________________________\nFrom: Ada\nSent: Monday\nTo: Bob\nSubject: x\nold",
        "##- Please write above this line -##\nold",
        "> old\n> text",
        ">old\n\n>> older\n",
    ] {
        assert_eq!(cut(&format!("Yes, please.\n\n{history}")).as_deref(), Some("Yes, please."), "{history}");
    }
}

#[test]
fn what_is_not_surely_an_earlier_mail_stays() {
    for text in [
        "Hello\nwe meet on Monday at 10:00:\n- a\n- b",
        "On page 3 he wrote:\nnonsense",
        "From: is the field I meant.\nThe To: field too.",
        "Our offer\n________________________________\nis below the line.",
        "She wrote: yes\nand I say no",
        "a\n---\nb",
        "Hello",
        "",
        "> only a quote",
        "On Mon, Jan 1, 2024 at 10:00 AM Ada <ada@c.test> wrote:\n> only a quote",
        "-- \nAda",
        // Answers between the lines, and below.
        "Hi\n\nOn Mon, Jan 1, 2024 at 10:00 AM Ada <ada@c.test> wrote:\n> one?\n\nYes.\n\n> two?\n\nNo.",
        "> one?\nYes.",
        "On Mon, Jan 1, 2024 Ada wrote:\n> one?\n\nBelow it.",
    ] {
        assert_eq!(cut(text), None, "{text:?}");
    }
}

#[test]
fn forwards_are_never_cut() {
    let head = "From: Ada\nDate: Monday\nSubject: x\nTo: Bob\n\nold";
    for text in [
        format!("See below.\n\n---------- Forwarded message ---------\n{head}"),
        format!("-------- Weitergeleitete Nachricht --------\n{head}"),
        format!("Begin forwarded message:\n\n> {}", head.replace('\n', "\n> ")),
        format!("Look\n\nAnfang der weitergeleiteten Nachricht:\n\n{head}"),
        format!("---------- Message transféré ---------\n{head}"),
        format!("> Begin forwarded message:\n> {}", head.replace('\n', "\n> ")),
    ] {
        assert_eq!(cut(&text), None, "{text:?}");
    }
    let lines = plain::lines(&format!("Look\n\n{head}"), &Params::default());
    for subject in ["Fwd: x", "FW: x", "WG: x", "Tr : x", "RV: x", "I: x"] {
        assert_eq!(cut_lines(&lines, subject), None, "{subject}");
    }
    assert_eq!(cut_lines(&lines, "Re: x").as_deref(), Some("Look"));
    // A forward in the earlier mail is part of that.
    let reply = format!(
        "Thanks\n\nOn Mon, Jan 1, 2024 Ada <ada@c.test> wrote:\n> ---------- Forwarded message ---------\n> {}",
        head.replace('\n', "\n> ")
    );
    assert_eq!(cut(&reply).as_deref(), Some("Thanks"));
}

#[test]
fn signatures_are_cut() {
    for (text, expected) in [
        ("Hello\n\n-- \nAda\nEngineer", Some("Hello")),
        ("Hello\n--\nAda", Some("Hello")),
        ("Hello\n\nSent from my iPhone", Some("Hello")),
        ("Hello\n\nVon meinem iPhone gesendet\n", Some("Hello")),
        ("Hello\n\nEnvoyé de mon iPhone", Some("Hello")),
        ("Hello\n\nEnviado desde mi iPhone", Some("Hello")),
        ("Hello\n\nInviato da iPhone", Some("Hello")),
        ("Hello\n\nVerstuurd vanaf mijn iPhone", Some("Hello")),
        ("Hello\n\nSkickat från min iPhone", Some("Hello")),
        ("Hello\n\niPhoneから送信", Some("Hello")),
        ("Hello\n\nGet Outlook for iOS<https://aka.ms/o0ukef>", Some("Hello")),
        ("Hello\n\nSent from my phone\n\nOn Mon, Jan 1, 2024 Ada <a@c.test> wrote:\n> old", Some("Hello")),
        ("Hello\n-- \nAda\n\nOn Mon, Jan 1, 2024 Ada <a@c.test> wrote:\n> old", Some("Hello")),
        (
            "On Mon, Jan 1, 2024 Ada <a@c.test> wrote:\n> old\n\nBelow\n-- \nAda",
            Some("On Mon, Jan 1, 2024 Ada \\<a@c.test\\> wrote:\n\\> old\n\nBelow"),
        ),
        ("Hello\n\nOn Mon, Jan 1, 2024 Ada <a@c.test> wrote:\n> old\n\n-- \nAda", Some("Hello")),
        ("Sent from my iPhone", None),
        ("Hello\n- - -\nx", None),
        ("Sent from my iPhone it looked good.\nBut not here.", None),
    ] {
        assert_eq!(cut(text).as_deref(), expected, "{text:?}");
    }
    let long = format!("Hello\n--\n{}", "text\n".repeat(SIGNATURE_LINES_MAX + 1));
    assert_eq!(cut(&long), None);
}

#[test]
fn the_marks_of_mail_programs_are_known() {
    let head = "<b>From:</b> Ada<br><b>Sent:</b> Monday<br><b>To:</b> Bob<br><b>Subject:</b> x<br><br>old";
    let old = "<p>old</p>";
    for page in [
        format!(
            "<div>Yes</div><div class=\"gmail_quote\"><div class=\"gmail_attr\">On Monday Ada wrote:<br></div><blockquote class=\"gmail_quote\">{old}</blockquote></div>"
        ),
        format!(
            "<div>Yes</div><br><div class=gmail_quote>On Mon, Jan 1, 2024 at 10:00 Ada &lt;a@c.test&gt; wrote:<br><blockquote class=gmail_quote>{old}</blockquote></div>"
        ),
        format!(
            "Yes<div class='moz-cite-prefix'>Any language here:<br></div><blockquote type=\"cite\" cite=mid:x>{old}</blockquote>"
        ),
        format!("Yes<blockquote type=CITE><div>On Monday, Ada wrote:</div>{old}</blockquote>"),
        format!("Yes<div id='yahoo_quoted_1' class='yahoo_quoted'><div>Am Montag</div>{old}</div>"),
        format!(
            "Yes<div class='protonmail_quote'>On Monday<blockquote class=protonmail_quote type=cite>{old}</blockquote></div>"
        ),
        format!("Yes<div class='zmail_extra'>x{old}</div>"),
        format!("<p>Yes</p><div id=\"appendonsend\"></div><hr><div id=\"divRplyFwdMsg\">{head}</div>"),
        format!("<p>Yes</p><hr><div id=x_divRplyFwdMsg>{head}</div>"),
        format!(
            "<p>Yes</p><div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0in 0in 0in'><p>{head}</p></div>"
        ),
        format!("<p>Yes</p><hr>{head}"),
        "<p>Yes</p><div class=gmail_signature>Ada<br>Engineer</div>".to_owned(),
        "<p>Yes</p><div id=Signature><p>Ada</p></div>".to_owned(),
        format!("<p>Yes</p><p>On Mon, Jan 1, 2024 at 10:00 Ada wrote:</p><blockquote>{old}</blockquote>"),
    ] {
        assert_eq!(cut_html(&page).as_deref(), Some("Yes"), "{page}");
    }
    for page in [
        "<p>a</p><blockquote>quoted by hand</blockquote>".to_owned(),
        "<p>a</p><hr><p>b</p>".to_owned(),
        "<p>a</p><div style='border-top:solid #E1E1E1 1.0pt'><p>b</p></div>".to_owned(),
        format!(
            "<div class=gmail_quote><blockquote class=gmail_quote>{old}</blockquote><div>answer</div><blockquote class=gmail_quote>{old}</blockquote><div>more</div></div>"
        ),
        format!(
            "<div>See</div><div class=gmail_quote><div class=gmail_attr>---------- Forwarded message ---------<br>From: Ada<br>Date: x<br>Subject: y</div>{old}</div>"
        ),
        format!(
            "<div>See<blockquote type=cite><div>Begin forwarded message:</div><div>From: Ada</div>{old}</blockquote></div>"
        ),
    ] {
        assert_eq!(cut_html(&page), None, "{page}");
    }
}

#[test]
fn a_long_text_of_marks_takes_its_length_in_time() {
    let many = 20_000;
    for line in [
        ">",
        "> a",
        "On Mon, Jan 1, 2024",
        "a wrote:",
        "From: a",
        "-----",
        "--",
        "On 2024 a wrote:\n> b\nc",
        "Sent from my phone",
        ":",
        "________________",
    ] {
        let lines = plain::lines(&format!("{line}\n").repeat(many), &Params::default());
        assert!(kept(&lines, "x").is_none_or(|kept| kept < lines.len()), "{line}");
    }
}

proptest! {
    #[test]
    fn what_is_kept_says_something(pieces in proptest::collection::vec(prop_oneof![
        Just("Hello"), Just(""), Just("> old"), Just("-- "), Just("On Mon, Jan 1, 2024 Ada <a@b.test> wrote:"), Just("From: a"), Just("Sent: b"), Just("To: c"),
        Just("-----Original Message-----"), Just("Sent from my phone"), Just("________________"), Just("---------- Forwarded message ---------"),
    ], 0..15)) {
        let lines = plain::lines(&pieces.join("\n"), &Params::default());
        if let Some(kept) = kept(&lines, "x") {
            prop_assert!(kept < lines.len() && !joined(&lines[..kept]).is_empty());
            // What was kept is not cut again into nothing.
            prop_assert!(super::kept(&lines[..kept], "x").is_none_or(|again| again <= kept));
        }
    }
}
