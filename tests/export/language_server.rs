//! An exported venv as an editor sees it: a language server of the package index, spoken to as
//! the Language Server Protocol has it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::support::command::Dlpack;
use crate::support::uv::uv;

/// The server, as uv names it.
const SERVER: &str = "ty==0.0.105";
/// What it calls a module that it does not find.
const NOT_FOUND: &str = "import-not-found";
/// How long it may live, in seconds: what it is asked takes two.
const LIFE: &str = "300";

/// A language server that was asked a number of things.
struct Server {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    asked: u64,
}

impl Server {
    /// Starts it for the project in `dlpack`'s work directory.
    fn start(dlpack: &Dlpack) -> Self {
        let uv = uv().display().to_string();
        let mut command = dlpack.command_as_user("timeout", [LIFE, &uv, "tool", "run", "--quiet", "--from", SERVER]);
        // the venv is to be found where exports put it, not by the environment of the tests
        command.args(["ty", "server"]).env_remove("VIRTUAL_ENV").env_remove("CONDA_PREFIX");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("timeout(1) of coreutils");
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut server = Self { child, to, from: BufReader::new(from), asked: 0 };
        let root = url(&dlpack.work());
        let capabilities = json!({ "textDocument": { "completion": {}, "diagnostic": {} } });
        let folders = json!([{ "uri": root, "name": "work" }]);
        server.ask(
            "initialize",
            json!({ "processId": null, "rootUri": root, "workspaceFolders": folders, "capabilities": capabilities }),
        );
        server.send(json!({ "method": "initialized", "params": {} }));
        server
    }

    /// Opens a file with `text`, which is not on disk.
    fn open(&mut self, file: &Path, text: &str) -> Value {
        let document = json!({ "uri": url(file), "languageId": "python", "version": 1, "text": text });
        self.send(json!({ "method": "textDocument/didOpen", "params": { "textDocument": document } }));
        json!({ "uri": url(file) })
    }

    /// The answer to a request.
    #[track_caller]
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.send(json!({ "id": id, "method": method, "params": params }));
        loop {
            let message = self.read();
            match (message.get("method"), message.get("id")) {
                // what it asks has no answer here
                (Some(_), Some(id)) => self.send(json!({ "id": id, "result": null })),
                (Some(_), None) => {}
                (None, found) => {
                    assert_eq!(found, Some(&json!(id)), "{message}");
                    assert!(message.get("error").is_none(), "{message}");
                    return message["result"].clone();
                }
            }
        }
    }

    /// LSP, "Base Protocol": a header with `Content-Length`, an empty line, and JSON-RPC 2.0.
    fn send(&mut self, mut message: Value) {
        message["jsonrpc"] = "2.0".into();
        let body = message.to_string();
        write!(self.to, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("it listens");
        self.to.flush().expect("it listens");
    }

    #[track_caller]
    fn read(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            let read = self.from.read_line(&mut line).expect("it speaks");
            assert_ne!(read, 0, "{SERVER} has ended\nhint: it is from the package index that uv is set up for");
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().expect("a number");
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.from.read_exact(&mut body).expect("it speaks");
        serde_json::from_slice(&body).expect("JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // its child ends with its stdin
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

#[test]
fn a_language_server_completes_and_checks_types_with_an_exported_venv() {
    let dlpack = Dlpack::new();
    super::venv::recipe(&dlpack, "\"numpy==1.26.4\"");
    dlpack.ok(["export", "venv"]);
    let mut server = Server::start(&dlpack);
    let document =
        server.open(&dlpack.work().join("edited.py"), "import numpy\nwrong: int = numpy.array([1.0])\nnumpy.linsp\n");
    let at_the_end = json!({ "line": 2, "character": "numpy.linsp".len() });
    let completed = server.ask("textDocument/completion", json!({ "textDocument": document, "position": at_the_end }));
    let items = completed.get("items").unwrap_or(&completed).as_array().expect("a list").clone();
    assert!(items.iter().any(|item| item["label"] == "linspace"), "{completed}");
    let diagnosed = server.ask("textDocument/diagnostic", json!({ "textDocument": document }));
    let found = diagnosed["items"].as_array().expect("a list");
    let mistyped = found.iter().find(|found| found["code"] == "invalid-assignment");
    let message = mistyped.and_then(|found| found["message"].as_str()).unwrap_or_default();
    assert!(message.contains("ndarray") && message.contains("`int`"), "{diagnosed}");
    assert!(!found.iter().any(|found| found["code"] == NOT_FOUND), "{diagnosed}");
    // and without it, it knows of no numpy
    fs::remove_dir_all(dlpack.work().join(".venv")).expect("removed");
    let mut server = Server::start(&dlpack);
    let document = server.open(&dlpack.work().join("edited.py"), "import numpy\n");
    let diagnosed = server.ask("textDocument/diagnostic", json!({ "textDocument": document }));
    assert_eq!(diagnosed["items"][0]["code"], NOT_FOUND, "{diagnosed}");
}
