//! One log line, for people or for machines.
//!
//! Both have the same parts: time, level, target, message, and the fields of the record. A value
//! cannot break out of its line. Not here: which lines are written (`log`).

use std::fmt::Write as _;
use std::io::{self, Write as _};

use env_logger::fmt::Formatter;
use log::Record;
use log::kv::{self, Key, Value, VisitSource, VisitValue};
use serde_json::{Map, Value as Json};

/// `[time LEVEL target] message: key=value key="a value"`
pub(super) fn text(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let (time, level, target) = (out.timestamp_millis(), record.level(), record.target());
    let mut line = format!("[{time} {level:<5} {target}] {}", plain(&record.args().to_string()));
    if record.key_values().count() > 0 {
        line.push(':');
        record.key_values().visit(&mut Text(&mut line)).map_err(unwritten)?;
    }
    writeln!(out, "{line}")
}

/// One JSON object. Fields are keys beside `time`, `level`, `target` and `message`, which no
/// field can replace.
pub(super) fn json(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let mut line = Map::new();
    line.insert("time".to_owned(), out.timestamp_millis().to_string().into());
    line.insert("level".to_owned(), record.level().as_str().to_ascii_lowercase().into());
    line.insert("target".to_owned(), record.target().into());
    line.insert("message".to_owned(), record.args().to_string().into());
    record.key_values().visit(&mut Fields(&mut line)).map_err(unwritten)?;
    writeln!(out, "{}", Json::Object(line))
}

fn unwritten(error: kv::Error) -> io::Error {
    io::Error::other(error.to_string())
}

/// Text without what would begin another line or move a terminal's cursor.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

struct Text<'o>(&'o mut String);

impl<'kvs> VisitSource<'kvs> for Text<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let value = match typed(&value)? {
            Json::Null => return Ok(()),
            Json::String(text) => text,
            other => other.to_string(),
        };
        let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && c != '"';
        if value.is_empty() || !value.chars().all(is_plain) {
            write!(self.0, " {key}={value:?}")?;
        } else {
            write!(self.0, " {key}={value}")?;
        }
        Ok(())
    }
}

struct Fields<'o>(&'o mut Map<String, Json>);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        match typed(&value)? {
            Json::Null => {}
            json => {
                self.0.entry(key.as_str()).or_insert(json);
            }
        }
        Ok(())
    }
}

/// A value with its type; what is absent is null.
fn typed(value: &Value<'_>) -> Result<Json, kv::Error> {
    let mut json = Json::Null;
    value.visit(Typed(&mut json))?;
    Ok(json)
}

/// Takes a value in: numbers stay numbers.
struct Typed<'o>(&'o mut Json);

impl<'v> VisitValue<'v> for Typed<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        *self.0 = value.to_string().into();
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        *self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        *self.0 = value.into();
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        *self.0 = value.into();
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        *self.0 = value.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use env_logger::{Builder, Target};
    use log::{Level, Log as _};

    use super::*;

    /// What a formatter makes of a record with awkward fields.
    fn written(format: fn(&mut Formatter, &Record<'_>) -> io::Result<()>) -> String {
        #[derive(Clone, Default)]
        struct Pipe(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Pipe {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().expect("no poison").write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let pipe = Pipe::default();
        let mut builder = Builder::new();
        builder.filter_level(log::LevelFilter::Info).format(format);
        let logger = builder.target(Target::Pipe(Box::new(pipe.clone()))).build();
        let fields = [
            ("route", Value::from("/events")),
            ("error", Value::from("no\nsuch \"thing\"")),
            ("level", Value::from("forged")),
            ("empty", Value::from("")),
            ("events", Value::from(3_u64)),
            ("wait_secs", Value::from(0.5)),
            ("is_first", Value::from(true)),
            ("absent", Value::null()),
        ];
        let fields = fields.as_slice();
        let mut record = Record::builder();
        record.level(Level::Info).target("chatmux::x").key_values(&fields);
        logger.log(&record.args(format_args!("a\nline")).build());
        let bytes = pipe.0.lock().expect("no poison").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn people_get_fields_behind_the_message_and_one_line() {
        let line = written(text);
        let (time, rest) = line.split_once(' ').expect("a time");
        assert!(time.starts_with('[') && time.ends_with('Z'), "{line}");
        let want = "INFO  chatmux::x] a\\nline: route=/events error=\"no\\nsuch \\\"thing\\\"\" \
                    level=forged empty=\"\" events=3 wait_secs=0.5 is_first=true\n";
        assert_eq!(rest, want);
    }

    #[test]
    fn machines_get_fields_as_keys_with_their_types() {
        let line = written(json);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let json: Json = serde_json::from_str(&line).expect("JSON");
        let want = serde_json::json!({
            "time": json["time"], "level": "info", "target": "chatmux::x", "message": "a\nline",
            "route": "/events", "error": "no\nsuch \"thing\"", "empty": "", "events": 3,
            "wait_secs": 0.5, "is_first": true,
        });
        assert_eq!(json, want);
    }
}
