//! `CONVERSATION_MESSAGE`: what is said, chosen, attached, asked for.
//!
//! Content that has no field of its own in the vocabulary travels whole in `payload`. Not here:
//! who said it and when ([`super::frame`]).

use std::borrow::Cow;

use super::{Fault, Told};
use crate::proto::backend::url::is_harmless;
use crate::proto::event::{Chat, Choice, FileItem, Form, Json, Link, Payload, Text};
use crate::proto::json::Fields;
use crate::proto::view::{View, pick};

/// Reads the message in a payload. `identifier` is the entry's; `usual` the message type that
/// the event's name stands for, if it stands for one.
pub(super) fn read<'a>(
    payload: View<'a>,
    identifier: Option<&'a str>,
    usual: Option<&'a str>,
) -> Result<Told<'a>, Fault> {
    let message =
        payload.object("abstractMessage").ok_or(Fault::Malformed("no abstractMessage"))?;
    pick!(message, message_type = "messageType", in_reply_to = "inReplyToMessageId");
    let message_type = message_type.and_then(|word| word.as_text());
    let message_type = message_type.or_else(|| usual.map(Cow::Borrowed));
    let message_type = message_type.ok_or(Fault::Malformed("no messageType"))?;
    let message = Message {
        in_reply_to: in_reply_to.and_then(|id| id.as_id()),
        reason: payload.get("messageReason"),
        object: message,
    };
    match message_type.as_ref() {
        "StaticContentMessage" => message.static_content(),
        "ChoicesMessage" => message.choices(),
        "ChoicesResponseMessage" => message.choices_response(),
        "FormMessage" => message.form(identifier),
        "FormResponseMessage" => Ok(message.form_response()),
        _ => Err(Fault::Unmapped),
    }
}

/// An `abstractMessage`, with what stands beside it.
struct Message<'a> {
    object: View<'a>,
    in_reply_to: Option<Text<'a>>,
    reason: Option<View<'a>>,
}

impl<'a> Message<'a> {
    fn static_content(self) -> Result<Told<'a>, Fault> {
        let content =
            self.object.object("staticContent").ok_or(Fault::Malformed("no staticContent"))?;
        match content.text("formatType").as_deref() {
            Some("Text") => {
                let text = content.text("text").ok_or(Fault::Malformed("a text without text"))?;
                let chat = Chat { payload: self.reason_alone(), ..Chat::default() };
                Ok(self.chat(Some(text), chat))
            }
            Some("Attachments") => files(content),
            Some("RichLink") => {
                let text = content.object("linkItem").and_then(|item| title(item, "titleItem"));
                let links = link(content).into_iter().collect::<Vec<_>>();
                // Without an address it is no link; then all that there is travels along.
                let payload =
                    if links.is_empty() { Some(self.whole(content)) } else { self.reason_alone() };
                Ok(self.chat(text, Chat { links, payload, ..Chat::default() }))
            }
            Some("ExperienceType") => {
                let chat = Chat { payload: Some(self.whole(content)), ..Chat::default() };
                Ok(self.chat(content.text("message"), chat))
            }
            _ => {
                let chat = Chat { payload: Some(self.whole(content)), ..Chat::default() };
                Ok(self.chat(content.text("text"), chat))
            }
        }
    }

    fn choices(self) -> Result<Told<'a>, Fault> {
        let content = self.object.object("choices").ok_or(Fault::Malformed("no choices"))?;
        let (choices, payload) = match content.array("optionItems") {
            Some(items) => (choices(items)?, self.reason_alone()),
            // A carousel, say, holds its options elsewhere.
            None => (Vec::new(), Some(self.whole(content))),
        };
        let chat = Chat { choices, style: content.word("formatType"), payload, ..Chat::default() };
        Ok(self.chat(content.text("text"), chat))
    }

    /// No public source names the keys of this content, so it is found by its shape: the object
    /// of the message that holds an array of options.
    fn choices_response(self) -> Result<Told<'a>, Fault> {
        let content = ["choicesResponse", "choices"]
            .into_iter()
            .find_map(|key| self.object.object(key))
            .or_else(|| self.object.fields().find_map(|(_, value)| value.as_object()))
            .ok_or(Fault::Malformed("no content of the choice"))?;
        let items = ["selectedOptions", "optionItems"]
            .into_iter()
            .find_map(|key| content.array(key))
            .or_else(|| content.fields().find_map(|(_, value)| value.as_array()))
            .ok_or(Fault::Malformed("no options were chosen"))?;
        let choices = choices(items)?;
        let titles: Vec<&str> =
            choices.iter().filter_map(|choice| choice.title.as_deref()).collect();
        let text = (!titles.is_empty()).then(|| Cow::Owned(titles.join(", ")));
        let payload = self.reason_alone();
        Ok(self.chat(text, Chat { choices, payload, ..Chat::default() }))
    }

    fn form(&self, identifier: Option<&'a str>) -> Result<Told<'a>, Fault> {
        let form = self.object.object("form").ok_or(Fault::Malformed("no form"))?;
        let payload = Form {
            form_id: self.object.id("id").or_else(|| identifier.map(Cow::Borrowed)),
            name: title(form, "formTitle"),
            fields: Some(Cow::Borrowed(form.raw())),
            ..Form::default()
        };
        Ok(Told { text: title(form, "message"), payload: Payload::Form(Box::new(payload)) })
    }

    fn form_response(&self) -> Told<'a> {
        const KNOWN: [&str; 4] = ["messageType", "id", "inReplyToMessageId", "references"];
        let own = self.object.fields().filter(|(key, _)| !KNOWN.contains(&key.as_ref()));
        let reason = self.reason.map(|reason| (Cow::Borrowed("messageReason"), reason));
        let fields =
            own.chain(reason).map(|(key, value)| (key, Cow::Borrowed(value.raw()))).collect();
        Told { text: None, payload: Payload::Kind { kind: "form_response", fields } }
    }

    fn chat(self, text: Option<Text<'a>>, chat: Chat<'a>) -> Told<'a> {
        let chat = Chat { in_reply_to: self.in_reply_to, ..chat };
        Told { text, payload: Payload::Chat(Box::new(chat)) }
    }

    /// The payload of a message whose content has fields of its own.
    fn reason_alone(&self) -> Option<Json<'a>> {
        let reason = self.reason?;
        Some(object(|fields| fields.raw("messageReason", reason.raw())))
    }

    /// The payload of a message whose content has no fields of its own.
    fn whole(&self, content: View<'a>) -> Json<'a> {
        let Some(reason) = self.reason else { return Cow::Borrowed(content.raw()) };
        object(|fields| {
            for (key, value) in content.fields().filter(|(key, _)| key != "messageReason") {
                fields.foreign(&key, value.raw());
            }
            fields.raw("messageReason", reason.raw());
        })
    }
}

fn object(fill: impl FnOnce(&mut Fields<'_>)) -> Json<'static> {
    let mut out = Vec::new();
    let mut fields = Fields::open(&mut out);
    fill(&mut fields);
    fields.close();
    // Written from `str`s alone.
    Cow::Owned(String::from_utf8(out).unwrap_or_default())
}

/// The title under a key: a text, or an item that has one.
fn title<'a>(holder: View<'a>, key: &str) -> Option<Text<'a>> {
    let value = holder.get(key)?;
    value.as_text().or_else(|| value.text("title"))
}

fn link<'a>(content: View<'a>) -> Option<Link<'a>> {
    let item = content.object("linkItem")?;
    let image = content.object("image").and_then(|image| image.word("assetUrl"));
    Some(Link {
        url: item.word("url").filter(|url| is_harmless(url))?,
        title: title(item, "titleItem"),
        image: image.filter(|url| is_harmless(url)),
    })
}

fn choices<'a>(items: impl Iterator<Item = View<'a>>) -> Result<Vec<Choice<'a>>, Fault> {
    let read = |item| choice(item).ok_or(Fault::Malformed("an option that is no object"));
    items.map(read).collect()
}

fn choice<'a>(item: View<'a>) -> Option<Choice<'a>> {
    const SUBTITLES: [&str; 3] = ["subTitle", "secondarySubTitle", "tertiarySubTitle"];
    let item = item.as_object()?;
    let shown = item.object("titleItem");
    let subtitle = |holder: View<'a>| SUBTITLES.into_iter().find_map(|key| holder.word(key));
    Some(Choice {
        id: item.id("optionIdentifier").or_else(|| item.id("optionId")),
        title: title(item, "titleItem").or_else(|| title(item, "title")),
        description: shown.and_then(subtitle).or_else(|| subtitle(item)),
    })
}

fn files<'a>(content: View<'a>) -> Result<Told<'a>, Fault> {
    const IMAGE: &str = "image/";
    let read = |item: View<'a>| {
        let file = item.as_object()?;
        let media_type = file.word("mimeType");
        Some(FileItem {
            id: file.id("id"),
            name: file.word("name"),
            is_image: media_type
                .as_deref()
                .and_then(|media_type| media_type.get(..IMAGE.len()))
                .is_some_and(|prefix| prefix.eq_ignore_ascii_case(IMAGE)),
            media_type,
            // The vendor's own; it wants the end user's token, so no browser can open it.
            url: file.word("url"),
        })
    };
    let items = content.array("attachments").ok_or(Fault::Malformed("no attachments"))?;
    let files: Option<Vec<FileItem<'a>>> = items.map(read).collect();
    let files = files.ok_or(Fault::Malformed("an attachment that is no object"))?;
    if files.is_empty() {
        return Err(Fault::Malformed("no attachments"));
    }
    Ok(Told { text: content.text("text"), payload: Payload::File(files) })
}
