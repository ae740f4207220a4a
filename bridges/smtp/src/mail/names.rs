//! Names of files that a mail carries: never a path, never a program that a click starts, each once in a mail.

use std::collections::HashSet;

use super::shown;

const NAME_BYTES_MAX: usize = 120;
const EXTENSION_BYTES_MAX: usize = 20;
const BLOCKED: &str = ".blocked";

/// The names of one mail.
#[derive(Default)]
pub(crate) struct Names {
    used: HashSet<String>,
}

impl Names {
    /// A safe name for the file with this number, from what the sender called it.
    pub(crate) fn name(&mut self, declared: &str, media_type: &str, number: usize) -> String {
        let cleaned = cleaned(declared);
        let name =
            if cleaned.is_empty() { format!("attachment-{number}{}", extension_for(media_type)) } else { cleaned };
        // Cut first: where the end of a long name is taken off, what is left may end as a program does.
        let name = fitted(&name, "", "");
        let blocked = is_program(extension_of(&name)) || PROGRAM_TYPES.contains(&media_type);
        let suffix = if blocked { BLOCKED } else { "" };
        let name = fitted(&name, "", suffix);
        let mut unique = name.clone();
        for again in 2.. {
            if self.used.insert(unique.to_lowercase()) {
                break;
            }
            unique = fitted(name.strip_suffix(suffix).unwrap_or(&name), &format!("-{again}"), suffix);
        }
        unique
    }
}

/// The last component, without what cannot be seen or means something to a shell or a file system.
fn cleaned(declared: &str) -> String {
    let declared = declared.split('\0').next().unwrap_or_default();
    let base = declared.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
    let base = &base[..base.floor_char_boundary(4 * 1024)];
    let shown = shown::one_line(base, usize::MAX);
    let plain: String = shown.chars().map(|c| if "<>:\"|?*".contains(c) { '_' } else { c }).collect();
    let plain = plain.trim_matches(|c: char| c == '.' || c.is_whitespace());
    let stem = plain.split('.').next().unwrap_or_default().trim().to_ascii_lowercase();
    if is_device(&stem) { format!("_{plain}") } else { plain.to_owned() }
}

/// Names that some systems take for a device, whatever the extension.
fn is_device(stem: &str) -> bool {
    let port = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    ["con", "prn", "aux", "nul", "conin$", "conout$"].contains(&stem)
        || port.is_some_and(|port| {
            port.chars().count() == 1 && port.starts_with(|c: char| c.is_ascii_digit() || "¹²³".contains(c))
        })
}

/// With a mark before the extension and a suffix behind it, cut in the stem.
fn fitted(name: &str, mark: &str, suffix: &str) -> String {
    let extension = extension_of(name);
    let extension = if extension.is_empty() { String::new() } else { format!(".{extension}") };
    let stem = &name[..name.len() - extension.len()];
    let room = NAME_BYTES_MAX - extension.len() - mark.len() - suffix.len();
    let cut = &stem[..stem.floor_char_boundary(room)];
    // Dots and blanks at the end of a name are taken off by some systems, and what stands before them shows.
    let stem = if extension.is_empty() {
        cut.trim_end_matches(|c: char| c == '.' || c.is_whitespace())
    } else {
        cut.trim_end()
    };
    format!("{stem}{mark}{extension}{suffix}")
}

fn extension_of(name: &str) -> &str {
    let extension = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map_or("", |(_, extension)| extension);
    if extension.len() <= EXTENSION_BYTES_MAX { extension } else { "" }
}

/// What a double click would run.
fn is_program(extension: &str) -> bool {
    PROGRAMS.split_ascii_whitespace().any(|program| extension.trim().eq_ignore_ascii_case(program))
}

const PROGRAMS: &str = "ade adp apk app appx appxbundle application appref-ms bat chm cmd \
    com command cpl deb dll dmg elf exe gadget hlp hta img \
    inf ins iso isp jar jnlp js jse lnk mde mjs msc \
    msi msix msixbundle msp mst pif pkg ps1 ps1xml ps2 psc1 psm1 \
    reg rpm run scf scr sct settingcontent-ms sh shb shs sys udf \
    url vb vbe vbs vbscript vhd vhdx vxd website ws wsc wsf \
    wsh xbap xll";

const PROGRAM_TYPES: &[&str] = &[
    "application/hta",
    "application/javascript",
    "application/x-bat",
    "application/x-dosexec",
    "application/x-javascript",
    "application/x-ms-shortcut",
    "application/x-msdos-program",
    "application/x-msdownload",
    "application/x-msi",
    "application/x-sh",
    "application/x-executable",
    "application/vnd.microsoft.portable-executable",
    "text/javascript",
    "text/vbscript",
];

fn extension_for(media_type: &str) -> &'static str {
    match media_type {
        "text/plain" | "message/delivery-status" | "text/rfc822-headers" => ".txt",
        "text/html" => ".html",
        "text/calendar" => ".ics",
        "text/csv" => ".csv",
        "text/vcard" | "text/x-vcard" => ".vcf",
        "image/jpeg" | "image/jpg" => ".jpg",
        "image/png" => ".png",
        "image/gif" => ".gif",
        "image/webp" => ".webp",
        "image/tiff" => ".tif",
        "image/heic" => ".heic",
        "image/svg+xml" => ".svg",
        "application/pdf" => ".pdf",
        "application/zip" | "application/x-zip-compressed" => ".zip",
        "application/json" => ".json",
        "application/xml" | "text/xml" => ".xml",
        "application/msword" => ".doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => ".docx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => ".xlsx",
        "application/ms-tnef" | "application/vnd.ms-tnef" => ".dat",
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => ".p7m",
        "application/pkcs7-signature" | "application/x-pkcs7-signature" => ".p7s",
        "application/pgp-encrypted" | "application/pgp-signature" => ".asc",
        "message/rfc822" | "message/global" | "message/partial" => ".eml",
        "audio/mpeg" => ".mp3",
        "audio/ogg" => ".ogg",
        "video/mp4" => ".mp4",
        media_type if media_type.starts_with("multipart/") => ".eml",
        _ => ".bin",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(declared: &str) -> String {
        Names::default().name(declared, "application/pdf", 7)
    }

    #[test]
    fn a_file_name_is_never_a_path_a_device_or_a_program() {
        for (declared, expected) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ada\\report.pdf", "report.pdf"),
            ("/etc/", "etc"),
            ("..", "attachment-7.pdf"),
            ("", "attachment-7.pdf"),
            (" \u{200b}\u{202e} ", "attachment-7.pdf"),
            (".bashrc", "bashrc"),
            ("...hidden..pdf", "hidden..pdf"),
            ("invoice\u{202e}fdp.exe", "invoicefdp.exe.blocked"),
            ("a\r\nb\0c.pdf", "a b"),
            ("evil.exe\0.pdf", "evil.exe.blocked"),
            ("evil.pdf.ExE", "evil.pdf.ExE.blocked"),
            ("evil.exe. . ", "evil.exe.blocked"),
            ("CON", "_CON"),
            ("nul.txt", "_nul.txt"),
            ("com1.pdf", "_com1.pdf"),
            ("com10.pdf", "com10.pdf"),
            ("a<b>:c|d?.pdf", "a_b__c_d_.pdf"),
            ("disk.iso", "disk.iso.blocked"),
            ("Füße 李.pdf", "Füße 李.pdf"),
        ] {
            assert_eq!(name(declared), expected, "{declared:?}");
        }
        assert_eq!(Names::default().name("setup", "application/x-msdownload", 1), "setup.blocked");
    }

    /// Those of table C25.
    #[test]
    fn two_hundred_names_of_files_become_names_that_open_nothing() {
        let names: Vec<String> =
            serde_json::from_str(include_str!("../../../../tests/fixtures/names/files.json")).unwrap();
        assert_eq!(names.len(), 200);
        let mut taken = Names::default();
        for (number, declared) in names.iter().enumerate() {
            let name = taken.name(declared, "application/pdf", number);
            assert!((1..=NAME_BYTES_MAX).contains(&name.len()), "{declared:?}: {name:?}");
            assert!(!name.contains(['/', '\\', ':', '<', '>', '|', '?', '*', '"']), "{declared:?}: {name:?}");
            assert!(
                !name.contains(|c: char| c.is_control() || crate::characters::is_hidden(c)),
                "{declared:?}: {name:?}"
            );
            assert!(!name.starts_with('.') && !name.ends_with(['.', ' ']), "{declared:?}: {name:?}");
            assert!(!is_program(extension_of(&name)), "{declared:?}: {name:?}");
            assert!(!is_device(name.split('.').next().unwrap().trim()), "{declared:?}: {name:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let long = name(&format!("{}.pdf", "ä".repeat(200)));
        assert!(long.len() <= NAME_BYTES_MAX && long.ends_with("ä.pdf"), "{long}");
        let long = name(&format!("{}.exe", "a".repeat(200)));
        assert_eq!((long.len(), long.ends_with("a.exe.blocked")), (NAME_BYTES_MAX, true));
        assert_eq!(name(&format!("a.{}", "b".repeat(300))).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn a_name_that_is_cut_does_not_become_a_program() {
        let cut = name(&format!("{}.exe{}", "a".repeat(NAME_BYTES_MAX - 4), "b".repeat(30)));
        assert!(cut.ends_with("a.exe.blocked"), "{cut}");
        let dots = name(&format!("evil.exe{}{}", ".".repeat(200), "b".repeat(30)));
        assert_eq!(dots, "evil.exe.blocked");
    }

    #[test]
    fn each_name_is_there_once() {
        let mut names = Names::default();
        let given =
            ["a.pdf", "A.pdf", "a.pdf", "x.exe", "x.exe", "a-2.pdf"].map(|declared| names.name(declared, "", 1));
        assert_eq!(given, ["a.pdf", "A-2.pdf", "a-3.pdf", "x.exe.blocked", "x-2.exe.blocked", "a-2-2.pdf"]);
    }

    proptest! {
        #[test]
        fn any_name_is_short_visible_and_no_path(declared in any::<String>(), number in 0_usize..500) {
            let name = Names::default().name(&declared, "image/png", number);
            prop_assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX);
            prop_assert!(!name.starts_with('.') && !name.contains(['/', '\\']) && !name.contains(crate::characters::is_hidden));
        }
    }
}
