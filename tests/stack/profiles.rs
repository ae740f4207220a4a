//! The profiles whose images nobody needs for this: that the file reads, that each one's settings are right, and that what
//! must agree between two files does.

use std::fs;

use crate::world::{Compose, IMAGE, docker, root, said, wanted};

const PROFILES: [&str; 6] = ["irc", "mail", "synapse", "chatwoot", "postgres", "replicas"];

#[test]
fn each_profile_is_a_file_that_reads_and_settings_that_are_right() {
    if !wanted() {
        return;
    }
    for profile in PROFILES {
        let read = said(Compose::new().with_profile(profile).run(&["config"]));
        assert!(read.contains(&format!("deploy/compose/{profile}.toml")), "{read}");
        let checked = in_container(profile, &["check"]);
        assert!(checked.contains("/etc/deskbridge/deskbridge.toml"), "{checked}");
    }
    said(Compose::new().run(&["config"]));
    in_container("sandbox", &["check"]);
}

#[test]
fn the_registration_is_the_one_that_the_settings_make() {
    if !wanted() {
        return;
    }
    let made = in_container("synapse", &["matrix", "registration", "--bridge", "synapse"]);
    let kept = fs::read_to_string(root().join("deploy/compose/synapse/deskbridge.yaml")).expect("it is there");
    assert_eq!(made, kept);
}

/// Another command of the image, with the settings of a profile.
fn in_container(profile: &str, words: &[&str]) -> String {
    let folder = root().join("deploy/compose");
    let settings = format!("{}:/etc/deskbridge/deskbridge.toml:ro", folder.join(format!("{profile}.toml")).display());
    let secrets = format!("{}:/run/secrets:ro", folder.join("secrets").display());
    let container = ["run", "--rm", "--network", "none", "-v", &settings, "-v", &secrets, IMAGE];
    said(docker(&[&container, words].concat()))
}
