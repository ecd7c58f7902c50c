//! HTML in; text, links and safe markup out.

use super::*;

#[track_caller]
fn check(source: &str, want: &str) {
    let reading = read(source).unwrap_or_else(|| panic!("{source:?} is HTML"));
    assert_eq!(reading.text, want, "{source:?}");
}

#[track_caller]
fn check_markup(source: &str, want: Option<&str>) {
    assert_eq!(read(source).and_then(|reading| reading.markup).as_deref(), want, "{source:?}");
}

#[track_caller]
fn check_links(source: &str, want: &[(&str, Option<&str>, Option<&str>)]) {
    let links = read(source).expect("HTML").links;
    let got: Vec<_> = links
        .iter()
        .map(|link| (link.url.as_str(), link.title.as_deref(), link.image.as_deref()))
        .collect();
    assert_eq!(got, want, "{source:?}");
}

#[test]
fn plain_text_is_left_alone() {
    for source in [
        "",
        "hello",
        "  two  spaces\r\n",
        "a < b",
        "I <3 you",
        "x <b",
        "x <b title=\"",
        "a<",
        "</",
        "& &x; &;",
        "mail <you@example.com>",
        "<https://example.com/?a=1>",
        "<foo>bar</foo>",
        "<?php echo 1 ?>",
        "a </ b",
        "<blink-twice>",
        "\u{A0}",
    ] {
        assert_eq!(read(source), None, "{source:?}");
        assert_eq!(plain(Cow::Borrowed(source)), source);
    }
}

#[test]
fn escaped_plain_text_keeps_its_white_space() {
    check("a &amp; b\n  c ", "a & b\n  c ");
    check("a\r\n&lt;b&gt;", "a\n<b>");
    check("&amp;lt;", "&lt;");
    check("x&nbsp;y", "x y");
    check("&#39;&#x27;&quot;&euro;&nosuch;", "''\"€&nosuch;");
    check("a<!-- note -->b", "ab");
    check("<foo a=\"&amp;\"> &amp; <b", "<foo a=\"&\"> & <b");
    check("x <y z=\"&lt; <b> w", "x <y z=\"< <b> w");
}

#[test]
fn breaks_and_block_ends_are_line_feeds() {
    check("a<br>b", "a\nb");
    check("a<br/><BR />b", "a\n\nb");
    check("<p>a</p><p>b</p>", "a\nb");
    check("<div>a</div>\n<div><br></div>\n<div>b</div>", "a\n\nb");
    check("a<div>b</div>c", "a\nb\nc");
    check("a<br></p><p>b", "a\nb");
    check("<p>a</p><br>b", "a\n\nb");
    check("<h1>t</h1>a<hr>b", "t\na\nb");
    check("<p>a</p>", "a");
    check("a<br>", "a");
}

#[test]
fn white_space_collapses_among_tags() {
    check("<b> a </b>  b\n c ", "a b c");
    check("a<b> </b>b", "a b");
    check("a <br> b", "a\nb");
    check("a&nbsp;&nbsp;<b>b</b>", "a  b");
    check("<pre>a\n  b</pre>c  d", "a\n  b\nc d");
    check("<b>x</b><textarea>a  b</textarea>", "xa  b");
}

#[test]
fn lists_and_tables_are_readable() {
    check("Do:<ul><li>one</li><li>two</li></ul>then", "Do:\none\ntwo\nthen");
    check("<table><tr><th>a<th>b<tr><td><p>1</p><td>2</table>", "a\tb\n1\t2");
    check("<table>\n<tr>\n<td>a</td>\n<td>b</td>\n</tr>\n</table>", "a\tb");
    check("<select><option>a<option>b</select>", "a\nb");
}

#[test]
fn what_only_looks_like_a_tag_stays_text() {
    check("press <enter> <b>now</b>", "press <enter> now");
    check("<b>a</b> < b <c", "a < b <c");
    check("<b>a</b> <you@x.org>", "a <you@x.org>");
    check_markup("press <enter> <b>now</b>", Some("press &lt;enter&gt; <b>now</b>"));
    check_markup("<foo a=\"<b>\"><i>x</i> <b", Some("&lt;foo a=\"&lt;b&gt;\"&gt;<i>x</i> &lt;b"));
}

#[test]
fn what_is_not_shown_is_dropped() {
    check("a<script>if (a<b) alert('x')</script>b", "ab");
    check("a<style>p{}</style><title>t</title><!-- c -->b", "ab");
    check("<!DOCTYPE html><html><head><title>t</title></head><body>a</body></html>", "a");
    check("a<svg><g><foo>x</foo></g><svg></svg>y</svg>b<svg/>c", "abc");
    check("a<script>never closed", "a");
    check("a<script/>b", "a");
    check("a<![CDATA[b]]>c", "ac");
    check("a<img src=x alt=\"a cat\">", "aa cat");
}

#[test]
fn links_are_told() {
    check("see <a href=\"https://x.org/?a=1&amp;b=2\">the\n <b>page</b></a>!", "see the page!");
    check_links(
        "see <a href=\"https://x.org/?a=1&amp;b=2\">the\n <b>page</b></a>!",
        &[("https://x.org/?a=1&b=2", Some("the page"), None)],
    );
    check_links(
        "<A HREF=' MailTo:a@x.org\n'>a<a href=tel:1>b",
        &[("MailTo:a@x.org", Some("a"), None), ("tel:1", Some("b"), None)],
    );
    check_links(
        "<a href='http://x.org/'><img src='https://x.org/i.png'><img src='https://x.org/j.png'></a>",
        &[("http://x.org/", None, Some("https://x.org/i.png"))],
    );
    for url in [
        "javascript:alert(1)",
        "java\nscript:alert(1)",
        "\u{1}data:text/html,x",
        "/x",
        "//x.org",
        "",
        "http:",
        "#a",
        "x\0y:z",
    ] {
        check_links(&format!("<a href=\"{url}\">a</a>"), &[]);
    }
    check_links(
        "<a href='https://x.org/'><img src='data:image/png;base64,xx'></a>",
        &[("https://x.org/", None, None)],
    );
}

#[test]
fn markup_is_safe() {
    check_markup("a &amp; b", None);
    check_markup("<script>alert(1)</script>", None);
    check_markup("<b onclick=\"x()\" style=\"x\" class=\"y\">a</b>", Some("<b>a</b>"));
    check_markup("<img src=\"data:image/png;base64,xx\" onerror=x alt=a>", Some("<img alt=\"a\">"));
    check_markup("<a href=\"javascript:x\">a</a>", Some("<a rel=\"noopener noreferrer\">a</a>"));
    check_markup(
        "<a href=\"https://x.org\" target=_top>a</a>",
        Some("<a href=\"https://x.org\" rel=\"noopener noreferrer\">a</a>"),
    );
    check_markup("<a href=\"/api/delete\">a</a>", Some("<a rel=\"noopener noreferrer\">a</a>"));
    check_markup("<form action=x><button>a</button></form>", Some("a"));
    check_markup("<iframe src=x></iframe><b>a", Some("<b>a</b>"));
    check_markup("<svg><a xlink:href=\"javascript:x\">b</a></svg><i>c</i>", Some("<i>c</i>"));
}

#[test]
fn markup_is_bounded_and_its_text_stays() {
    let long = format!("<b>{}", "a".repeat(MARKUP_BYTES_MAX - 3));
    assert!(read(&long).expect("HTML").markup.is_some());
    let reading = read(&format!("{long}a")).expect("HTML");
    assert_eq!((reading.markup, reading.text.len()), (None, MARKUP_BYTES_MAX - 2));
    let many = "<b>a</b>".repeat(TAGS_MAX / 2);
    assert!(read(&many).expect("HTML").markup.is_some());
    let reading = read(&format!("{many}<b>")).expect("HTML");
    assert_eq!((reading.markup, reading.text.len()), (None, TAGS_MAX / 2));
}

#[test]
fn hostile_nesting_costs_little() {
    let formats: String = (0..TAGS_MAX / 2).map(|n| format!("<b id={n}>")).collect();
    let repeated = read(&format!("<p>{formats}{}", "<p>x".repeat(TAGS_MAX / 2 - 1))).expect("HTML");
    assert_eq!((repeated.markup, repeated.text.len()), (None, TAGS_MAX - 3));
    let link = |bytes: usize| {
        format!("<p><a href='https://x.org/{}'>{}", "y".repeat(bytes), "<p>x".repeat(300))
    };
    assert_eq!(read(&link(2000)).expect("HTML").markup, None);
    let markup = read(&link(60_000)).expect("HTML").markup.expect("markup");
    assert!(markup.len() < 20_000 && !markup.contains("href"), "{}", markup.len());
    check_markup("<b title='x' lang=en>a</b>", Some("<b>a</b>"));
    // A megabyte of what could be a tag, and of tags within tags: linear, and no deep call.
    let reading = read(&format!("<b>{}", "<a ".repeat(350_000))).expect("HTML");
    assert_eq!(reading.text.len(), 3 * 350_000 - 1);
    let reading = read(&"<div>".repeat(200_000)).expect("HTML");
    assert_eq!(reading, Reading { text: String::new(), markup: None, links: Vec::new() });
}
