//! Markup and addresses that a page can show without being attacked.
//!
//! Sanitising builds a tree, and hostile nesting makes trees far larger than their text; so
//! markup beyond [`MARKUP_BYTES_MAX`] or [`TAGS_MAX`] is not sanitised but left out.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};

use super::tag::HIDDEN;

/// Longer markup is left out. Agents' messages are a few hundred bytes.
pub const MARKUP_BYTES_MAX: usize = 64 * 1024;
/// Markup with more tags is left out. Each block repeats the formatting that is open around
/// it, so the tree grows with the square of this.
pub const TAGS_MAX: usize = 512;

/// The most that the sanitised markup may take, were it given anyway.
const OUTPUT_BYTES_MAX: usize = 4 * MARKUP_BYTES_MAX;
/// Longer values of attributes are left out. A link is repeated in each block that it spans.
const ATTRIBUTE_BYTES_MAX: usize = 2048;

/// Where a link may lead.
const SCHEMES: [&str; 4] = ["http", "https", "mailto", "tel"];
/// Where a picture may come from.
const IMAGE_SCHEMES: [&str; 2] = ["http", "https"];

/// Built once: it holds tables that cost more than a message.
static SANITISER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut sanitiser = Builder::default();
    sanitiser.url_schemes(HashSet::from(SCHEMES));
    // Relative to the page that shows the chat, not to the backend.
    sanitiser.url_relative(UrlRelative::Deny);
    // `title` and `lang` would be repeated with the formatting around them.
    sanitiser.generic_attributes(HashSet::new());
    sanitiser.attribute_filter(|_, _, value| {
        (value.len() <= ATTRIBUTE_BYTES_MAX).then_some(Cow::Borrowed(value))
    });
    sanitiser.clean_content_tags(HIDDEN.iter().copied().collect());
    sanitiser
});

/// The message as safe markup; `literal` are the parts that look like tags and are text.
pub(super) fn markup(source: &str, literal: &[Range<usize>], tags: usize) -> Option<String> {
    if source.len() > MARKUP_BYTES_MAX || tags > TAGS_MAX {
        return None;
    }
    let markup = if literal.is_empty() {
        SANITISER.clean(source).to_string()
    } else {
        SANITISER.clean(&with_literals(source, literal)?).to_string()
    };
    (!markup.trim().is_empty() && markup.len() <= OUTPUT_BYTES_MAX).then_some(markup)
}

/// The message with the `<` of its literal parts escaped.
fn with_literals(source: &str, literal: &[Range<usize>]) -> Option<String> {
    let mut out = String::with_capacity(source.len() + 4 * literal.len());
    let mut end = 0;
    for range in literal {
        out.push_str(source.get(end..range.start)?);
        out.push_str(&source.get(range.clone())?.replace('<', "&lt;"));
        end = range.end;
    }
    out.push_str(source.get(end..)?);
    Some(out)
}

/// An address that a link may lead to.
pub(super) fn link_url(raw: &[u8]) -> Option<String> {
    url(raw, &SCHEMES)
}

/// An address that a picture may come from.
pub(super) fn image_url(raw: &[u8]) -> Option<String> {
    url(raw, &IMAGE_SCHEMES)
}

/// Browsers trim addresses and skip line breaks and tabs in them, so a scheme may hide there.
fn url(raw: &[u8], schemes: &[&str]) -> Option<String> {
    let text = std::str::from_utf8(raw).ok()?;
    let mut url = text.trim_matches(|c: char| c <= ' ').to_owned();
    url.retain(|c| !matches!(c, '\t' | '\n' | '\r'));
    let (scheme, rest) = url.split_once(':')?;
    let is_known = schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    (is_known && !rest.is_empty() && !url.contains(char::is_control)).then_some(url)
}
