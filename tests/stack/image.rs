//! What the image is: small, without a shell, not root; and how its container runs.

use serde_json::{Value, json};

use crate::world::{DEFAULT, IMAGE, Stack, docker, files_of_image, said, wanted};

/// The executable, the C library and the certificates come to about half of it.
const IMAGE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// More would be something that nobody put there on purpose.
const FILES_MAX: usize = 40;

#[test]
fn the_image_holds_the_gateway_and_nothing_to_go_on_with() {
    if !wanted() {
        return;
    }
    let text = said(docker(&["image", "inspect", IMAGE]));
    let image = serde_json::from_str::<Value>(&text).expect("docker prints JSON")[0].take();
    let bytes = image["Size"].as_u64().expect("a size");
    assert!(bytes <= IMAGE_BYTES_MAX, "the image has {bytes} bytes, at most {IMAGE_BYTES_MAX}");
    let config = &image["Config"];
    assert_eq!(config["User"], "10001:10001");
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "/usr/bin/deskbridge", "healthcheck"]));
    assert_eq!(config["Volumes"], json!({"/data": {}}));
    let files = files_of_image();
    let files: Vec<&String> = files.iter().filter(|name| !name.ends_with('/')).collect();
    assert!(files.len() <= FILES_MAX, "{files:?}");
    let programs = ["sh", "bash", "dash", "busybox", "perl", "python3", "apt", "dpkg", "curl", "wget", "cargo"];
    for name in &files {
        let program = name.rsplit('/').next().unwrap_or_default();
        assert!(!programs.contains(&program), "{name} is in the image");
    }
    assert!(files.iter().any(|name| *name == "usr/bin/deskbridge"), "{files:?}");
}

#[test]
fn a_container_can_write_to_its_data_and_nowhere_else() {
    if !wanted() {
        return;
    }
    let stack = Stack::up(&DEFAULT);
    let gateway = stack.inspect("gateway");
    let host = &gateway["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert!(host["CapAdd"].as_array().is_none_or(Vec::is_empty), "{host}");
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges:true"]));
    assert!(host["Memory"].as_u64() > Some(0) && host["PidsLimit"].as_u64() > Some(0), "{host}");
    assert_eq!(gateway["Config"]["StopTimeout"], 30);
    for ports in host["PortBindings"].as_object().expect("ports").values() {
        assert_eq!(ports[0]["HostIp"], "127.0.0.1", "{host}");
    }
    // The one executable can write pages of its manual where it may.
    let write = |folder: &str| stack.exec("gateway", &["/usr/bin/deskbridge", "man", "--dir", folder]);
    assert_eq!(write("/data").code, Some(0));
    for folder in ["/usr/bin", "/etc", "/"] {
        let refused = write(folder);
        assert!(refused.code == Some(1) && refused.err.contains("Read-only file system"), "{folder}: {refused:?}");
    }
    for shell in ["sh", "/bin/sh", "bash"] {
        assert_ne!(stack.exec("gateway", &[shell, "-c", "exit 0"]).code, Some(0), "{shell} is there");
    }
    assert_eq!(said(stack.exec("gateway", &["/usr/bin/deskbridge", "healthcheck"])), "ready\n");
}
