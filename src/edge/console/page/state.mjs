// What the page knows: events and what happens to the connection in, a new model out. Pure: no
// clock (`at` comes in, milliseconds), no network, no page.

import * as timeline from './timeline.mjs';
import { DISCONNECTED, DOWN, GAP, explained, nameOf, session } from './words.mjs';

/** Nobody promises that typing stops. */
export const TYPING_MS = 6000;
/** After so many periods without a sign of life a connection counts as dead. */
export const SILENT_PERIODS = 3;
/** Cursors that are remembered, to see whether one comes twice. */
const SEEN_MAX = 2000;

/** Nothing heard yet. `sources`: name and backend of those that the route merges. */
export function initial(sources = []) {
  return {
    phase: 'idle',
    stream: {
      opens: 0, losses: 0, events: 0, replayed: 0, gaps: 0, duplicates: 0, heartbeats: 0,
      subscribers: undefined, resumed: undefined, openedTime: undefined, isCatchingUp: false,
      cursor: '', lastAt: undefined, heartbeatSeconds: 5,
    },
    sources: Object.fromEntries(sources.map(({ name, backend }) => [name, blank(name, backend)])),
    timeline: timeline.empty(),
    typing: [],
    seen: [],
    breaks: 0,
    problem: undefined,
  };
}

const blank = (name, backend) => ({ name, backend, state: 'waiting', reason: undefined, retryAt: undefined, events: 0, lastTime: undefined, session: undefined, people: {} });

function withSource(model, tag, changes) {
  const before = Object.hasOwn(model.sources, tag.name) ? model.sources[tag.name] : blank(tag.name, tag.backend);
  return { ...model, sources: { ...model.sources, [tag.name]: { ...before, ...changes(before) } } };
}

/** A mark in the conversation that is no message. */
function withBreak(model, tone, title, more, source = undefined) {
  const item = { key: `break-${model.breaks}`, kind: 'break', tone, title, more, source };
  return { ...model, breaks: model.breaks + 1, timeline: timeline.add(model.timeline, item) };
}

const withStream = (model, changes) => ({ ...model, stream: { ...model.stream, ...changes } });

const CONTROLS = {
  connected(model, data) {
    const isBack = model.stream.opens > 0;
    const stream = { opens: model.stream.opens + 1, resumed: data.resumed, openedTime: data.timestamp, isCatchingUp: data.resumed === true, replayed: 0 };
    const open = withStream({ ...model, phase: 'open', problem: undefined }, stream);
    if (!isBack) return open;
    const words = data.resumed ? ['good', 'Back, and nothing was missed'] : ['warning', 'Back, without a place to go on from'];
    return withBreak(open, ...words);
  },
  disconnected(model, data) {
    return withBreak(model, 'warning', 'chatmux ends the stream', explained(DISCONNECTED, data.reason));
  },
  heartbeat(model, data) {
    const { heartbeats } = model.stream;
    return withStream(model, { heartbeats: heartbeats + 1, subscribers: data.subscriberCount, isCatchingUp: false });
  },
  source_up(model, data) {
    const before = model.sources[data.source.name];
    const up = withSource(model, data.source, () => ({ state: 'up', reason: undefined, retryAt: undefined }));
    return before?.state === 'down' ? withBreak(up, 'good', `${data.source.name} is back`, undefined, data.source.name) : up;
  },
  source_down(model, data, at) {
    const retryAt = Number.isInteger(data.retryInSeconds) ? at + data.retryInSeconds * 1000 : undefined;
    const state = data.reason === 'ended' ? 'ended' : 'down';
    const down = withSource(model, data.source, () => ({ state, reason: data.reason, retryAt }));
    const typing = down.typing.filter((one) => one.source !== data.source.name);
    const title = state === 'ended' ? `${data.source.name} has ended` : `${data.source.name} is away`;
    return withBreak({ ...down, typing }, 'warning', title, explained(DOWN, data.reason), data.source.name);
  },
  gap(model, data) {
    const counted = withStream(model, { gaps: model.stream.gaps + 1 });
    const of = data.source ? ` of ${data.source.name}` : '';
    const since = data.since ? `since ${data.since} · ` : '';
    return withBreak(counted, 'error', `Events${of} may be missing`, `${since}${explained(GAP, data.reason)}`, data.source?.name);
  },
  refused(model, data) {
    const retry = data.retryInSeconds === undefined ? '' : ` Again in ${data.retryInSeconds} s.`;
    return { ...model, phase: 'refused', problem: { title: `${data.code} ${data.error}`, advice: `${data.message}${retry}` } };
  },
};

/** Messages of the `core` vocabulary as those of the full one: what became `Data` has a kind. */
export function full(message, types) {
  const { kind } = message.messageType === 'Data' && message.data !== null && typeof message.data === 'object' ? message.data : {};
  const isOther = typeof kind === 'string' && types.includes(kind) && message.source.event !== 'Data';
  if (!isOther) return message;
  const { data, text } = message.data;
  return { ...message, messageType: kind, data, text: text ?? message.text };
}

function typing(model, message, at) {
  const key = JSON.stringify([message.source.name, message.sender?.id ?? '', message.conversationId ?? '']);
  const others = model.typing.filter((one) => one.key !== key);
  const isOwn = message.direction === 'Incoming';
  if (message.data?.state !== 'started' || isOwn) return { ...model, typing: others };
  const one = { key, source: message.source.name, name: nameOf(message.sender, false), until: at + TYPING_MS };
  return { ...model, typing: [...others, one] };
}

/** Whoever has spoken does not type any more. */
function spoken(model, message) {
  const is = (one) => one.source === message.source.name && one.name === nameOf(message.sender, false);
  return model.typing.some(is) ? { ...model, typing: model.typing.filter((one) => !is(one)) } : model;
}

const IN_SOURCES = {
  Status: (message) => ({ session: session(message.data) }),
  Presence: (message, before) => ({ people: withPerson(before.people, message.sender, { show: message.data?.show, isHere: message.data?.available !== false }) }),
  Participant: (message, before) => ({ people: withPerson(before.people, message.data?.participant, { isHere: message.data?.change !== 'left' }) }),
};

function withPerson(people, who, changes) {
  const id = who?.id ?? who?.name;
  if (id === undefined) return people;
  const { [id]: before, ...others } = people;
  if (!changes.isHere) return others;
  return { ...others, [id]: { name: nameOf(who, false), role: who.role, ...before, ...changes } };
}

function onMessage(model, message, at) {
  const counted = withSource(model, message.source, (before) => {
    const more = Object.hasOwn(IN_SOURCES, message.messageType) ? IN_SOURCES[message.messageType](message, before) : {};
    return { events: before.events + 1, lastTime: message.createdAt, ...more };
  });
  const heard = message.messageType === 'Typing' ? typing(counted, message, at) : spoken(counted, message);
  return { ...heard, timeline: timeline.onMessage(heard.timeline, message) };
}

/** Counts what a resume has brought: it is older than the connection. */
function counted(model, id, data) {
  const { stream } = model;
  const isReplayed = stream.isCatchingUp && data.createdAt <= stream.openedTime;
  const isAgain = id !== '' && model.seen.includes(id);
  return {
    ...withStream(model, {
      cursor: id || stream.cursor,
      replayed: stream.replayed + (isReplayed ? 1 : 0),
      isCatchingUp: isReplayed,
      duplicates: stream.duplicates + (isAgain ? 1 : 0),
    }),
    seen: id === '' || isAgain ? model.seen : [...model.seen.slice(1 - SEEN_MAX), id],
  };
}

/** One event of the stream: its name, its cursor, its data. */
export function onEvent(model, { name, id, data, at, types }) {
  const alive = withStream(model, { events: model.stream.events + 1, lastAt: at });
  if (Object.hasOwn(CONTROLS, name)) return CONTROLS[name](alive, data, at);
  if (data?.data?.kind === 'gap' && data.source?.event === 'gap') {
    const source = data.source.backend === 'chatmux' ? undefined : data.source;
    return CONTROLS.gap(alive, { ...data.data.data, source });
  }
  return onMessage(counted(alive, id, data), full(data, types), at);
}

/** What happens to the connection, by name. */
const HAPPENS = {
  opening: (model, { at, heartbeatSeconds }) => withStream({ ...model, phase: 'connecting', problem: undefined }, { lastAt: at, heartbeatSeconds }),
  lost(model) {
    const lost = withStream({ ...model, phase: 'retrying', typing: [] }, { losses: model.stream.losses + 1 });
    return model.phase === 'open' ? withBreak(lost, 'warning', 'The connection is lost', 'the browser comes back by itself') : lost;
  },
  cut: (model) => withBreak({ ...model, phase: 'cut', typing: [] }, 'warning', 'You have cut the connection', 'resume to get what is missed meanwhile'),
  closed: (model) => ({ ...model, phase: 'idle', typing: [] }),
  over: (model) => ({ ...model, phase: 'over', typing: [] }),
  problem: (model, { problem, isFinal }) => ({ ...model, phase: isFinal ? 'refused' : model.phase, problem }),
  tick(model, { at }) {
    const still = model.typing.filter((one) => one.until > at);
    return still.length === model.typing.length ? model : { ...model, typing: still };
  },
  sending: (model, what) => ({ ...model, timeline: timeline.onSending(model.timeline, what) }),
  sent: (model, what) => ({ ...model, timeline: timeline.onSent(model.timeline, what) }),
};

/** Something other than an event. */
export function happen(model, { kind, ...what }) {
  return HAPPENS[kind](model, what);
}

/** Whether the connection looks open and is dead: laptops wake up with such. */
export function isSilent(model, at) {
  const { lastAt, heartbeatSeconds } = model.stream;
  return model.phase === 'open' && lastAt !== undefined && at - lastAt > SILENT_PERIODS * heartbeatSeconds * 1000;
}

/** How a source is, as far as this page can tell: without a stream of its own it hears of none. */
export function sourceState(model, source) {
  const hears = model.phase === 'open' || model.phase === 'connecting';
  return hears || source.state === 'ended' ? source.state : 'shut';
}

/** Conversations of two in which something was said, newest last: where a message can go. */
export function conversations(model) {
  const found = new Map();
  for (const item of model.timeline.items) {
    if (item.kind !== 'message' && item.kind !== 'stream' && item.kind !== 'file') continue;
    if (item.conversation === undefined || item.room !== undefined) continue;
    const key = JSON.stringify([item.source, item.conversation]);
    const name = item.isOwn ? found.get(key)?.name : item.name;
    found.delete(key);
    found.set(key, { source: item.source, conversation: item.conversation, name });
  }
  return [...found.values()];
}
