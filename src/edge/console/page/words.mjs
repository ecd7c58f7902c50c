// Words for people: one line for each thing that is no message. Pure; texts of backends go
// through as they are and are put on the page as text.

/** What went wrong with a source, by the reasons of `source_down`. */
export const DOWN = {
  unauthorized: 'the backend refused the credentials',
  rate_limited: 'the backend asks to wait',
  refused: 'nobody listens there',
  dns: 'its name does not resolve',
  tls: 'no TLS session',
  timeout: 'no answer in time',
  bad_status: 'an unexpected answer',
  bad_content_type: 'no event stream',
  closed: 'the backend closed the stream',
  reset: 'the connection broke',
  silent: 'no byte for too long',
  ended: 'the conversation is over',
};

/** Why events may be missing, by the reasons of `gap`. */
export const GAP = {
  cursor_expired: 'the place to go on from is too old, or of another subscription',
  restarted: 'the log is gone, and the backend keeps no history',
  upstream_no_replay: 'the source was away, and its backend cannot tell what it missed',
  overflow: 'more came at once than is taken',
};

/** Why chatmux ended the stream, by the reasons of `disconnected`. */
export const DISCONNECTED = {
  draining: 'the process is going away; the browser comes back by itself',
  slow_consumer: 'this page has read too slowly',
  token_expired: 'the credential is over: enter a new one',
  revoked: 'the credential or the route was taken away',
  max_age: 'the stream has reached its age; the browser comes back by itself',
  sources_ended: 'every source has ended for good',
};

/** A word of the wire that these tables may not know, with its explanation. */
export function explained(table, word) {
  return Object.hasOwn(table, word) ? `${table[word]} (${word})` : String(word);
}

/** States of a session, and how they look. */
const SESSION = {
  queued: ['Waiting in the queue', 'info'],
  connecting: ['Being routed', 'info'],
  connected: ['Taken', 'good'],
  active: ['Active', 'good'],
  waiting: ['Waiting for the participant', 'info'],
  ended: ['Session ended', 'plain'],
  failed: ['Session failed', 'error'],
};

const PHASES = {
  requested: 'Hand-over requested',
  offered: 'Hand-over offered',
  revoked: 'Offer revoked',
  accepted: 'Hand-over accepted',
  completed: 'Handed over',
  failed: 'Hand-over failed',
};

const own = (table, word) => (Object.hasOwn(table, word) ? table[word] : undefined);
const text = (value) => (typeof value === 'string' && value !== '' ? value : undefined);
const join = (...parts) => parts.filter((part) => part !== undefined && part !== '').join(' · ');

/** What a session's state says, in short. */
export function session(data) {
  const [title, tone] = own(SESSION, data?.state) ?? [String(data?.state ?? 'unknown'), 'plain'];
  const more = join(
    Number.isInteger(data?.position) ? `place ${data.position}` : undefined,
    Number.isInteger(data?.estimatedWaitSeconds) ? `about ${data.estimatedWaitSeconds} s` : undefined,
    text(data?.endedBy) && `by ${data.endedBy}`,
    text(data?.reason),
  );
  return { title, tone, more };
}

const note = (title, more, tone = 'plain', detail = undefined) => ({ title, more, tone, detail });
const step = (label) => (message) => note(label, text(message.text), 'step', message.data);

/** For each message type that is shown as a line: title, more, tone, detail. */
const NOTES = {
  Status: (message) => {
    const { title, tone, more } = session(message.data);
    return note(title, join(more, text(message.text)), tone);
  },
  Handoff: (message) => {
    const data = message.data ?? {};
    const way = text(data.toAgent) && (text(data.fromAgent) ? `${data.fromAgent} → ${data.toAgent}` : `to ${data.toAgent}`);
    const more = join(way, text(data.reason), text(data.workgroup), text(data.room), text(message.text));
    return note(own(PHASES, data.phase) ?? 'Hand-over', more, data.phase === 'failed' ? 'error' : 'handoff');
  },
  Participant: (message) => {
    const { participant = {}, change, party, initial } = message.data ?? {};
    const who = text(participant.name) ?? text(participant.id) ?? 'Somebody';
    const did = change === 'left' ? 'left' : initial ? 'is here' : 'joined';
    return note(`${who} ${did}`, join(text(participant.role), text(party)), 'people');
  },
  Presence: (message) => note(`${message.sender?.name ?? 'Somebody'} is ${message.data?.show ?? 'there'}`, text(message.text), 'people'),
  Notice: (message) => {
    const tone = own({ info: 'info', warning: 'warning', error: 'error' }, message.data?.level) ?? 'info';
    return note(text(message.text) ?? text(message.data?.code) ?? 'Notice', text(message.text) && text(message.data?.code), tone);
  },
  Invite: (message) => note(`Invited to ${message.data?.room ?? 'a room'}`, join(text(message.data?.inviter), text(message.data?.reason)), 'info'),
  Call: (message) => note('Telephone call', text(message.data?.status), 'info', message.data?.payload),
  Signal: (message) => note('WebRTC signal', text(message.data?.destination), 'step', message.data?.signal),
  Progress: (message) => note(text(message.text) ?? 'Working', text(message.data?.indicator), 'step'),
  Reasoning: step('Reasoning'),
  Tool: step('Tool'),
  Webhook: step('Webhook'),
  Data: (message) => note(text(message.data?.kind) ? `Data: ${message.data.kind}` : 'Data', text(message.text), 'step', message.data),
  Raw: (message) => note(`No mapping: ${message.data?.event ?? 'unknown'}`, undefined, 'step', message.data?.body),
};

/** The line of a message that is shown as one. A type that is not known yet is a line, too. */
export function line(message) {
  const words = own(NOTES, message.messageType);
  return words ? words(message) : note(message.messageType, text(message.text), 'step', message.data);
}

/** The name to show for a sender, by what is known of them. */
export function nameOf(sender, isOwn) {
  if (isOwn) return 'You';
  return text(sender?.name) ?? text(sender?.id) ?? text(sender?.role) ?? 'Somebody';
}

/** Hours, minutes, seconds of a time of the wire, as this browser writes them. */
export function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? '' : date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
}
