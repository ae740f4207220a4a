//! A headless browser with a profile of its own, driven over its DevTools websocket.

use std::{fs, net::TcpStream, path::Path, process::Command, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client::client};

use crate::{http, peers, process::Process, wait::until};

const PROGRAM: &str = "chromium";
/// No answer of the browser takes a fraction of this.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// The process goes before the folder of its profile.
pub(crate) struct Browser {
    _process: Process,
    /// `127.0.0.1:PORT` of its DevTools.
    devtools: String,
    _folder: TempDir,
}

impl Browser {
    pub(crate) fn present() -> bool {
        peers::have(&[PROGRAM])
    }

    pub(crate) fn start() -> Self {
        let folder = peers::folder();
        let mut command = Command::new(peers::find(PROGRAM).expect("looked for before"));
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        // Without a sandbox of its own, which root may not have. A page here loads nothing foreign.
        let plain = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"];
        let quiet = ["--disable-background-networking", "--disable-component-update", "--no-proxy-server"];
        command.args(plain).args(quiet).args(["--remote-debugging-port=0", &profile, "about:blank"]);
        let mut process = Process::spawn(command, "chromium", folder.path());
        let devtools = until("the browser to say where its DevTools are", || {
            assert!(process.ended().is_none(), "the browser ended: {}", process.err());
            let said = process.err();
            let address = said.split("DevTools listening on ws://").nth(1).and_then(|rest| rest.split('/').next());
            address.map(ToOwned::to_owned).ok_or(said)
        });
        Self { _process: process, devtools, _folder: folder }
    }

    /// A page of its own tab, which shares nothing of its session with others.
    pub(crate) fn open(&self, url: &str) -> Page {
        let new = format!("http://{}/json/new?about:blank", self.devtools);
        let tab = http::request(Method::PUT, &new, &[], None).expect("the browser answers").json();
        let address = tab["webSocketDebuggerUrl"].as_str().expect("a page can be driven").to_owned();
        let stream = TcpStream::connect(&self.devtools).expect("the browser listens");
        stream.set_read_timeout(Some(ANSWER_WAIT)).expect("a timeout can be set");
        let (socket, _) = client(address, stream).expect("the browser speaks websocket");
        let mut page = Page { socket, last_id: 0, complaints: Vec::new() };
        for domain in ["Page", "Runtime", "Log", "DOM"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        page.call("Page.navigate", &json!({"url": url}));
        page.until("the page to load", "document.readyState === 'complete' && location.href !== 'about:blank'");
        page
    }
}

pub(crate) struct Page {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    complaints: Vec<String>,
}

impl Page {
    /// One DevTools call.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        self.last_id += 1;
        let call = json!({"id": self.last_id, "method": method, "params": params});
        self.socket.send(Message::text(call.to_string())).expect("the browser listens");
        loop {
            let message = self.socket.read().unwrap_or_else(|error| panic!("{method}: {error}"));
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text).expect("DevTools speak JSON");
            if frame["id"] == json!(self.last_id) {
                return frame.get("error").map_or_else(|| Ok(frame["result"].clone()), |error| Err(error.clone()));
            }
            self.note(&frame);
        }
    }

    /// What a person would see red in the console.
    fn note(&mut self, event: &Value) {
        let error = event["params"]["entry"]["level"] == "error";
        if event["method"] == "Runtime.exceptionThrown" || (event["method"] == "Log.entryAdded" && error) {
            self.complaints.push(event["params"].to_string());
        }
    }

    pub(crate) fn has_no_complaints(&mut self) {
        self.evaluate("0");
        assert!(self.complaints.is_empty(), "{:#?}", self.complaints);
    }

    /// What the page complained of so far is as it should be, if it is just this.
    pub(crate) fn excuse(&mut self, complaint: &str) {
        self.evaluate("0");
        let wrong: Vec<_> = self.complaints.drain(..).filter(|one| !one.contains(complaint)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// The value of an expression; a promise is waited for.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.try_call("Runtime.evaluate", &params)?;
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        Ok(result["result"]["value"].clone())
    }

    /// Looks until the expression is true.
    pub(crate) fn until(&mut self, what: &str, expression: &str) {
        until(what, || {
            // Between two pages there is none to ask.
            let found = self.try_evaluate(expression).map_err(|error| error.to_string())?;
            if found == json!(true) {
                return Ok(());
            }
            let shown = self.try_evaluate("document.body ? document.body.innerText.slice(0, 2000) : ''");
            let shown = shown.map_err(|error| error.to_string())?;
            Err(format!("{expression} is {found}; shown: {shown}"))
        });
    }

    /// Waits until the text is to be seen in what the selector finds.
    pub(crate) fn shows(&mut self, selector: &str, text: &str) {
        let found = format!("[...document.querySelectorAll({})]", json!(selector));
        let check = format!("{found}.some((one) => one.checkVisibility() && one.innerText.includes({}))", json!(text));
        self.until(&format!("`{text}` in {selector}"), &check);
    }

    pub(crate) fn click(&mut self, selector: &str) {
        self.until(selector, &format!("Boolean(document.querySelector({}))", json!(selector)));
        self.evaluate(&format!("document.querySelector({}).click()", json!(selector)));
    }

    /// Types into a field as a keyboard would, and presses Enter.
    pub(crate) fn enter(&mut self, selector: &str, text: &str) {
        self.write(selector, text);
        self.press("Enter", 13);
    }

    pub(crate) fn write(&mut self, selector: &str, text: &str) {
        self.until(selector, &format!("Boolean(document.querySelector({}))", json!(selector)));
        self.evaluate(&format!("document.querySelector({}).focus()", json!(selector)));
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Types over what the field holds.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.until(selector, &format!("Boolean(document.querySelector({}))", json!(selector)));
        self.evaluate(&format!("document.querySelector({}).select()", json!(selector)));
        self.write(selector, text);
    }

    pub(crate) fn press(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        let down = json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
        self.call("Input.dispatchKeyEvent", &down);
        self.call("Input.dispatchKeyEvent", &json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}));
    }

    /// Chooses files in a file field.
    pub(crate) fn attach(&mut self, selector: &str, file: &Path) {
        let root = self.call("DOM.getDocument", &json!({}))["root"]["nodeId"].clone();
        let node = self.call("DOM.querySelector", &json!({"nodeId": root, "selector": selector}))["nodeId"].clone();
        self.call("DOM.setFileInputFiles", &json!({"nodeId": node, "files": [file]}));
    }

    pub(crate) fn size(&mut self, width: u32, height: u32, phone: bool) {
        let scale = if phone { 2 } else { 1 };
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone});
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    pub(crate) fn dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.call("Emulation.setEmulatedMedia", &features);
    }

    /// Writes a picture into the folder that `DESKBRIDGE_SCREENSHOTS` names, if it names one.
    pub(crate) fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("DESKBRIDGE_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let bytes = STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("it is base64");
        fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).expect("the folder is there");
    }
}
