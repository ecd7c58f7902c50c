//! `chatmux key`: makes an API key.
//!
//! The key is printed once and kept nowhere; the conf file holds only its digest.

use sha2::{Digest, Sha256};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 256 bits: not to be guessed, however many keys there are.
const KEY_BYTES: usize = 32;

/// Options of `key`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux key --label widget
  chatmux key --label widget --tenant acme")]
pub(super) struct Args {
    /// The key's name in logs
    #[arg(long, default_value = "new-key")]
    label: String,
    /// A tenant that it opens; may be given several times
    #[arg(long, value_name = "TENANT")]
    tenant: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let key = format!("cmx_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; KEY_BYTES]>()));
    println!("The key, shown this once:");
    println!();
    println!("  {key}");
    println!();
    println!("The entry for the conf file, below auth: api_keys:");
    println!();
    println!("{}", entry(&args.label, &key, &args.tenant));
    Ok(())
}

fn entry(label: &str, key: &str, tenants: &[String]) -> String {
    let digest: String =
        Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    // JSON strings are YAML strings, whatever is in them.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut entry = format!("    - {{label: {}, sha256: \"{digest}\"", quoted(label));
    if !tenants.is_empty() {
        let tenants: Vec<_> = tenants.iter().map(|tenant| quoted(tenant)).collect();
        entry.push_str(&format!(", tenants: [{}]", tenants.join(", ")));
    }
    entry.push('}');
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_holds_the_digest_and_not_the_key() {
        let entry = entry("a \"b\"", "secret", &["acme".to_owned()]);
        assert_eq!(
            entry,
            "    - {label: \"a \\\"b\\\"\", sha256: \
             \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\", tenants: [\"acme\"]}"
        );
    }
}
