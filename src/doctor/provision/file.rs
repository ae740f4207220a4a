//! The file of a secret: what it holds, and how it is replaced in one step, for its owner alone.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use bridge_api::Secret;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Holds {
    This,
    Another,
    /// It is not there, or cannot be read.
    Nothing,
}

/// Compared as settings read it: without its last line break.
pub(super) fn holds(file: &Path, secret: &Secret) -> Holds {
    match fs::read_to_string(file) {
        Ok(text) => {
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            if text == secret.expose() { Holds::This } else { Holds::Another }
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Holds::Another,
        Err(_) => Holds::Nothing,
    }
}

pub(super) fn keep(file: &Path, secret: &Secret) -> io::Result<()> {
    replace(file, format!("{}\n", secret.expose()).as_bytes())
}

/// The whole new content or the whole old one is there at any moment. A file that is new is for its owner alone; one that
/// is replaced keeps its mode.
pub fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    // Where it really lies, so that a link to it stays one.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = fs::metadata(&file).map_or(0o600, |about| about.permissions().mode() & 0o777);
    let mut new = tempfile::Builder::new().prefix(".deskbridge").tempfile_in(folder)?;
    new.write_all(content)?;
    new.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    new.persist(&file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_kept_for_its_owner_alone_and_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let (one, two) = (Secret::new("one"), Secret::new("two"));
        assert_eq!(holds(&file, &one), Holds::Nothing);
        keep(&file, &one).unwrap();
        assert_eq!((holds(&file, &one), holds(&file, &two)), (Holds::This, Holds::Another));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        keep(&file, &two).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two\n");
        fs::write(&file, "one\r\n").unwrap();
        assert_eq!(holds(&file, &one), Holds::This);
        fs::write(&file, b"\xff\xfe").unwrap();
        assert_eq!(holds(&file, &one), Holds::Another);
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
    }

    #[test]
    fn what_is_replaced_keeps_its_mode_and_its_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        replace(&folder.path().join("absent/file"), b"x").unwrap_err();
    }
}
