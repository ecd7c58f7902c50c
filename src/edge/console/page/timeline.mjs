// Message events -> items of the conversation. Pure: lists in, new lists out.
// Not here: connections and sources (state), how an item looks (chat).

import { line, nameOf } from './words.mjs';

/** Items that are kept; the oldest go first. */
export const ITEMS_MAX = 400;
/** Receipts that came before their message. */
const EARLY_MAX = 100;

/** Where an item stands: ids are unique within a source's conversation. */
export const keyOf = (source, conversation, id) => JSON.stringify([source, conversation ?? '', id]);

/** How far a message has come; it never goes back. */
const PROGRESS = ['failed', 'sending', 'sent', 'delivered', 'read'];
const further = (one, other) => (PROGRESS.indexOf(other) > PROGRESS.indexOf(one) ? other : one);

/** An empty conversation. */
export const empty = () => ({ items: [], early: [], cut: 0 });

const bounded = (items) => (items.length > ITEMS_MAX ? items.slice(items.length - ITEMS_MAX) : items);

/** With an item at its end. */
export function add(timeline, item) {
  const all = [...timeline.items, item];
  const items = bounded(all);
  return { ...timeline, items, cut: timeline.cut + all.length - items.length };
}

function change(timeline, index, item) {
  const items = [...timeline.items];
  items[index] = item;
  return { ...timeline, items };
}

function common(message) {
  const isOwn = message.direction === 'Incoming';
  return {
    key: keyOf(message.source.name, message.conversationId, message.id),
    source: message.source.name,
    conversation: message.conversationId,
    type: message.messageType,
    isOwn,
    name: nameOf(message.sender, isOwn),
    sender: message.sender?.id ?? '',
    role: message.sender?.role,
    time: message.createdAt,
    requestId: message.requestId,
  };
}

/** The data of a type. XiansAi passes any JSON there. */
const dataOf = (message) => (message.data !== null && typeof message.data === 'object' && !Array.isArray(message.data) ? message.data : {});
const listOf = (value) => (Array.isArray(value) ? value.filter((one) => one !== null && typeof one === 'object') : []);

function chatItem(message) {
  const data = dataOf(message);
  return {
    ...common(message),
    kind: 'message',
    text: message.text ?? '',
    subject: data.subject,
    room: data.room,
    isDelayed: data.delayed === true,
    isMarkdown: data.format === 'markdown',
    inReplyTo: data.inReplyTo,
    choices: listOf(data.choices),
    links: listOf(data.links),
    payload: message.source.backend === 'xians' ? message.data : data.payload,
    progress: message.direction === 'Incoming' ? 'sent' : undefined,
  };
}

/** The message of ours that this echo is of: by id, else the oldest with the same words. */
function indexOfEcho(items, item) {
  const waits = (one) => one.kind === 'message' && one.isPending && one.source === item.source;
  const byId = items.findIndex((one) => waits(one) && one.key === item.key);
  return byId >= 0 ? byId : items.findIndex((one) => waits(one) && one.text === item.text);
}

/** What was streamed and becomes this message: by id, else by sender and beginning. */
function indexOfStream(items, item) {
  const fits = (one) => one.kind === 'stream' && one.source === item.source && one.conversation === item.conversation;
  const byId = items.findIndex((one) => fits(one) && one.key === item.key);
  if (byId >= 0) return byId;
  return items.findLastIndex(
    (one) => fits(one) && one.state === 'writing' && one.sender === item.sender && one.text !== '' && item.text.startsWith(one.text.trimEnd()),
  );
}

function withEarly(timeline, item) {
  const early = timeline.early.filter((receipt) => receipt.key === item.key);
  if (early.length === 0) return [timeline, item];
  const progress = early.reduce((known, receipt) => further(known, receipt.progress), item.progress);
  return [{ ...timeline, early: timeline.early.filter((receipt) => receipt.key !== item.key) }, { ...item, progress }];
}

function chat(timeline, message) {
  const [known, item] = withEarly(timeline, chatItem(message));
  const replaces = dataOf(message).replaces;
  const target = replaces === undefined ? item.key : keyOf(item.source, item.conversation, replaces);
  const index = known.items.findIndex((one) => one.kind === 'message' && one.key === target);
  const before = known.items[index];
  if (before !== undefined && !before.isPending) {
    const progress = before.progress === undefined ? item.progress : further(before.progress, item.progress);
    const isEdited = before.isEdited || before.text !== item.text;
    return change(known, index, { ...item, key: before.key, time: before.time, progress, isEdited });
  }
  const echo = item.isOwn ? indexOfEcho(known.items, item) : -1;
  if (echo >= 0) return change(known, echo, { ...item, progress: further(known.items[echo].progress, 'sent') });
  const stream = indexOfStream(known.items, item);
  if (stream >= 0) return change(known, stream, { ...item, wasStreamed: true });
  return add(known, item);
}

function token(timeline, message) {
  const data = dataOf(message);
  const key = keyOf(message.source.name, message.conversationId, data.messageId);
  const index = timeline.items.findLastIndex((one) => one.key === key && (one.kind === 'stream' || one.kind === 'message'));
  const before = timeline.items[index];
  // The message is there already: what still comes of its pieces is late.
  if (before?.kind === 'message') return timeline;
  if (typeof data.valid === 'boolean') {
    if (before === undefined) return timeline;
    if (data.valid) return change(timeline, index, { ...before, isChecked: true });
    return change(timeline, index, { ...before, state: 'withdrawn', parts: [], text: '', reason: data.reason });
  }
  const part = { sequence: data.sequence, text: message.text ?? '' };
  if (before === undefined) {
    const item = { ...common(message), key, kind: 'stream', state: 'writing', parts: [part], text: part.text };
    return add(timeline, item);
  }
  // Another set of pieces may follow one that was withdrawn.
  const parts = [...before.parts, part];
  parts.sort((one, other) => (one.sequence ?? 0) - (other.sequence ?? 0));
  const text = parts.map((one) => one.text).join('');
  return change(timeline, index, { ...before, state: 'writing', parts, text, isChecked: false });
}

function receipt(timeline, message) {
  const data = dataOf(message);
  const key = keyOf(message.source.name, message.conversationId, data.messageId);
  const progress = data.receipt === 'read' ? 'read' : 'delivered';
  const index = timeline.items.findLastIndex((one) => one.kind === 'message' && one.key === key);
  if (index < 0) {
    return { ...timeline, early: [...timeline.early, { key, progress }].slice(-EARLY_MAX) };
  }
  const item = timeline.items[index];
  return change(timeline, index, { ...item, progress: further(item.progress ?? 'sent', progress) });
}

function file(timeline, message) {
  const data = dataOf(message);
  return upsert(timeline, { ...common(message), kind: 'file', text: message.text ?? '', files: listOf(data.files) });
}

function form(timeline, message) {
  const data = dataOf(message);
  const { formId, name, timeoutSeconds, secure, fields } = data;
  return upsert(timeline, { ...common(message), kind: 'form', text: message.text ?? '', formId, title: name, timeoutSeconds, isSecure: secure === true, fields });
}

function noteOf(timeline, message) {
  const url = message.messageType === 'Invite' || message.messageType === 'Handoff' ? dataOf(message).url : undefined;
  return upsert(timeline, { ...common(message), kind: 'note', url, ...line(message) });
}

/** The same id again is the same thing, or its newer form. */
function upsert(timeline, item) {
  const index = timeline.items.findLastIndex((one) => one.key === item.key && one.kind === item.kind);
  return index < 0 ? add(timeline, item) : change(timeline, index, item);
}

/** Not part of what was said: states that the page shows elsewhere. */
const ELSEWHERE = new Set(['Typing', 'Presence']);
const BY_TYPE = { Chat: chat, Token: token, Receipt: receipt, File: file, Form: form };
/** XiansAi passes these with free data: a file without a list of files is a line. */
const isFile = (message) => message.messageType !== 'File' || Array.isArray(message.data?.files);

/** With one message event. */
export function onMessage(timeline, message) {
  if (ELSEWHERE.has(message.messageType)) return timeline;
  const put = Object.hasOwn(BY_TYPE, message.messageType) && isFile(message) ? BY_TYPE[message.messageType] : noteOf;
  return put(timeline, message);
}

/** What was typed here and is on its way. `id`: by which its echo will be known, if any. */
export function onSending(timeline, { source, conversation, id, text, time }) {
  const key = keyOf(source, conversation, id);
  return add(timeline, {
    key, kind: 'message', type: 'Chat', source, conversation, isOwn: true, isPending: true, name: 'You',
    sender: '', role: 'participant', time, text, choices: [], links: [], progress: 'sending',
  });
}

/** What became of it. `echoes`: the backend will tell of it on the stream. */
export function onSent(timeline, { source, conversation, id, error, echoes }) {
  const key = keyOf(source, conversation, id);
  const index = timeline.items.findLastIndex((one) => one.key === key && one.kind === 'message');
  if (index < 0) return timeline;
  const item = timeline.items[index];
  if (!item.isPending) return timeline;
  if (error !== undefined) return change(timeline, index, { ...item, isPending: false, progress: 'failed', error });
  return change(timeline, index, { ...item, isPending: echoes, progress: 'sent' });
}
