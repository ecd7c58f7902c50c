//! Tools of other people that tests run: packages of npm and of Python, pinned by a lock in a
//! folder below `tests`, installed once below `target`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Installing takes some seconds; past this the registry is not to be reached.
const INSTALL_SECS_MAX: u32 = 300;

/// Runs a tool, bounded in time.
pub(crate) fn run(folder: &Path, command: &[&str], input: &str) -> Output {
    let mut child = Command::new("timeout")
        .arg(INSTALL_SECS_MAX.to_string())
        .args(command)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A tool that reads nothing may be gone by now.
    let _is_written = stdin.write_all(input.as_bytes()).is_ok();
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// A copy of `tests/NAME` and of more files, with the packages of its `package-lock.json`.
pub(crate) fn npm(name: &str, more: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    let files = std::fs::read_dir(root.join("tests").join(name)).expect("a folder");
    let files = files.map(|entry| entry.expect("an entry").path());
    for file in files.chain(more.iter().map(|file| root.join(file))) {
        std::fs::copy(&file, folder.join(file.file_name().expect("a name"))).expect("a copy");
    }
    let install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    once(&folder, "package-lock.json", &[&install], "Debian: nodejs, npm");
    folder
}

/// The Python of the folder's own, with the packages of its `requirements.txt`.
pub(crate) fn pip(folder: &Path) -> PathBuf {
    let python = folder.join("venv/bin/python");
    let path = python.display().to_string();
    let make = ["python3", "-m", "venv", "venv"];
    // All packages are listed, each with its hash.
    let mut install = vec![path.as_str(), "-m", "pip", "install", "-q", "--no-deps"];
    install.extend(["--disable-pip-version-check", "--require-hashes", "-r", "requirements.txt"]);
    once(folder, "requirements.txt", &[&make, &install], "Debian: python3, python3-venv");
    python
}

/// Installs what a lock names, unless that has been done.
fn once(folder: &Path, lock: &str, commands: &[&[&str]], needs: &str) {
    let text = std::fs::read_to_string(folder.join(lock)).expect("a lock");
    let stamp = folder.join(format!("{lock}.installed"));
    if std::fs::read_to_string(&stamp).unwrap_or_default() == text {
        return;
    }
    for command in commands {
        let said = run(folder, command, "");
        let err = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{command:?} ({needs}): {err}");
    }
    std::fs::write(&stamp, text).expect("a stamp");
}
