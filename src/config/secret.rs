//! Secret fields: `${env:NAME}`, `${file:PATH}`, or what should not stand in a file.
//!
//! What is found is never repeated in a message, only the variable or file is. A literal secret
//! works and is a warning. Not here: which fields are secret (`spec`, the dialects).

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::{did_you_mean, quoted};
use super::read::{CREDENTIALS, Reader, Value};
use super::yaml::Data;
use crate::proto::secret::Secret;

/// No credential is larger.
pub(super) const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// The bits by which a group or everybody may read or write a file.
const OTHERS: u32 = 0o066;

/// How a secret was given.
pub(super) enum Given {
    /// By its variable or file.
    Elsewhere(Secret),
    /// In the conf file itself.
    Literal(Secret),
}

impl Reader<'_> {
    /// The value of a secret field. Literal ones are the caller's to warn of: text with holes is
    /// no secret.
    pub(super) fn given(&mut self, value: &Value<'_>) -> Option<Given> {
        let scalar = self.scalar(value)?;
        let given = match reference(&scalar.text) {
            Ok(Some(("env", name))) => self.variable(name).map(Given::Elsewhere),
            Ok(Some((_, path))) => {
                let file = self.file_at(value.node.at, path);
                read_secret(&file, path).map(Given::Elsewhere)
            }
            Ok(None) => Ok(Given::Literal(Secret::new(scalar.text.clone()))),
            Err(message) => Err(message),
        };
        let given = given.and_then(|given| match &given {
            Given::Elsewhere(secret) | Given::Literal(secret) if secret.reveal().is_empty() => {
                Err("this secret is empty".to_owned())
            }
            Given::Elsewhere(_) | Given::Literal(_) => Ok(given),
        });
        if let Err(message) = &given {
            self.error(value.node.at, &value.path, message.as_str());
        }
        given.ok()
    }

    /// A secret in one line, with a warning if it is literal.
    pub(super) fn secret(&mut self, value: &Value<'_>) -> Option<Secret> {
        match self.given(value)? {
            Given::Elsewhere(secret) => self.one_line(value, secret),
            Given::Literal(secret) => {
                self.warn_literal(value);
                self.one_line(value, secret)
            }
        }
    }

    pub(super) fn warn_literal(&mut self, value: &Value<'_>) {
        let message = "a secret stands in the file; write ${env:NAME} or ${file:PATH}";
        self.warn(value.node.at, &value.path, message);
    }

    /// Refuses what would break out of a header or a log line; warns of a file that others can
    /// read.
    pub(super) fn one_line(&mut self, value: &Value<'_>, secret: Secret) -> Option<Secret> {
        if let Data::Scalar(scalar) = &value.node.data
            && let Ok(Some(("file", path))) = reference(&scalar.text)
        {
            self.warn_if_open(value, path);
        }
        if secret.reveal().chars().any(char::is_control) {
            let message = "this secret holds a line break or another control character";
            self.error(value.node.at, &value.path, message);
            return None;
        }
        Some(secret)
    }

    /// Warns of a secret file that somebody else than its owner can read or change. What the
    /// service manager hands over (`LoadCredential`) is its to guard.
    pub(super) fn warn_if_open(&mut self, value: &Value<'_>, written: &str) {
        let path = self.file_at(value.node.at, written);
        let handed = (self.env)(CREDENTIALS).filter(|folder| !folder.is_empty());
        if handed.is_some_and(|folder| path.starts_with(folder)) {
            return;
        }
        let Ok(mode) = std::fs::metadata(&path).map(|meta| meta.permissions().mode() & 0o777)
        else {
            return;
        };
        if mode & OTHERS != 0 {
            let name = quoted(written);
            let message = format!(
                "others than its owner can read or change the file {name} (mode {mode:04o}); \
                 chmod 600 it"
            );
            self.warn(value.node.at, &value.path, message);
        }
    }

    fn variable(&self, name: &str) -> Result<Secret, String> {
        match (self.env)(name) {
            Some(text) => Ok(Secret::new(text)),
            None => Err(format!("the environment variable {} is not set", quoted(name))),
        }
    }
}

/// Takes `${env:NAME}` and `${file:PATH}` apart; `None` = neither.
fn reference(text: &str) -> Result<Option<(&str, &str)>, String> {
    if !text.contains("${") {
        return Ok(None);
    }
    const KINDS: [&str; 2] = ["env", "file"];
    let rule = "${env:NAME} or ${file:PATH} must be the whole value";
    let inside = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).ok_or(rule)?;
    // What stands there may be a secret: of it only a word of ours is told.
    let (kind, name) = inside.split_once(':').unwrap_or((inside, ""));
    if !KINDS.contains(&kind) {
        let near = did_you_mean(kind, KINDS);
        return Err(format!("this is neither ${{env:NAME}} nor ${{file:PATH}}{near}"));
    }
    if name.is_empty() || name.contains(['{', '}']) || name.contains(char::is_control) {
        return Err(rule.to_owned());
    }
    Ok(Some((kind, name)))
}

/// Reads a secret's file; one line break at its end belongs to the file, not to the secret.
fn read_secret(path: &Path, name: &str) -> Result<Secret, String> {
    let mut text = read_text(path, name, SECRET_BYTES_MAX)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Secret::new(text))
}

/// Reads a text file of bounded size. `name` is how the file was written.
pub(super) fn read_text(path: &Path, name: &str, bytes_max: u64) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot read the file {}: {error}", quoted(name));
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(format!("{} is not a file", quoted(name)));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(cannot)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > bytes_max) {
        return Err(format!("the file {} is larger than {bytes_max} bytes", quoted(name)));
    }
    String::from_utf8(bytes).map_err(|_| format!("the file {} is not UTF-8", quoted(name)))
}
