// The parts of the page that decide, without a browser: events in, model out.

import assert from 'node:assert/strict';
import { test } from 'node:test';

const load = (name) => import(`${process.env.CHATMUX_PAGE}/${name}.mjs`);
const { conversations, full, happen, initial, isSilent, onEvent, sourceState, TYPING_MS } = await load('state');
const { ITEMS_MAX } = await load('timeline');
const { pathThrough, request, wayTo } = await load('send');
const { credentialHeaders, isToken, streamUrl } = await load('connection');
const { ofAnswer, ofSilence } = await load('explain');
const { fromFragment, listenUrls } = await load('settings');
const { gist, passes, raw } = await load('log');
const { line } = await load('words');
const { judge, selfTestUrl, split } = await load('selftest');
const { safeUrl } = await load('dom');

const TYPES = ['Chat', 'Data', 'Handoff', 'Typing', 'Receipt', 'Presence', 'Participant', 'Status', 'Token', 'Progress', 'File', 'Form', 'Invite', 'Call', 'Signal', 'Notice', 'Reasoning', 'Tool', 'Webhook', 'Raw'];
const SOURCE = { name: 'care', backend: 'salesforce', event: 'X' };
let cursor = 0;

const message = (messageType, data, more = {}) => ({
  id: 'm-1', conversationId: 'c', workflowId: 'acme:w', workflowType: 'w', participantId: 'jane', direction: 'Outgoing', messageType,
  sender: { id: 'bot', name: 'Ava', role: 'bot' }, createdAt: '2026-01-19T18:39:10.000Z', source: SOURCE, ...(data === undefined ? {} : { data }), ...more,
});
const hear = (model, what, at = 0) => onEvent(model, { name: what.messageType, id: `1.e.${(cursor += 1)}`, data: what, at, types: TYPES });
const tell = (model, name, data, at = 0) => onEvent(model, { name, id: '', data, at, types: TYPES });
const hearAll = (...all) => all.reduce((model, what) => hear(model, what), initial());
const items = (model) => model.timeline.items;
const token = (text, sequence, more = {}) => message('Token', { messageId: 'm-9', sequence, ...more }, { id: `t-${sequence}`, text });
const connected = (resumed, timestamp = '2026-01-19T18:39:11.000Z') => ({ message: '', timestamp, workflowId: 'acme:w', participantId: 'jane', tenantId: 'acme', resumed });

test('every type of message has a place, and none breaks the page', () => {
  for (const type of TYPES) {
    for (const data of [undefined, {}, null, 7, 'text', [1], { kind: 'x' }, { files: 3 }, { choices: {} }]) {
      const model = hear(initial(), message(type, data, { text: 'words' }));
      assert.equal(model.sources.care.events, 1, type);
    }
  }
  // One that is not known yet is a line.
  assert.equal(items(hear(initial(), message('Sticker', { pack: 1 })))[0].title, 'Sticker');
});

test('the same id again is the newer form, in its place', () => {
  const model = hearAll(message('Chat', {}, { text: 'one' }), message('Chat', {}, { id: 'm-2', text: 'two' }), message('Chat', {}, { text: 'one, mended' }));
  assert.deepEqual(items(model).map((item) => [item.text, item.isEdited ?? false]), [['one, mended', true], ['two', false]]);
});

test('a correction replaces what it names', () => {
  const model = hearAll(message('Chat', {}, { text: 'teh' }), message('Chat', { replaces: 'm-1' }, { id: 'm-2', text: 'the' }));
  assert.deepEqual(items(model).map((item) => [item.text, item.isEdited]), [['the', true]]);
});

test('ids are of a source and a conversation', () => {
  const other = { ...SOURCE, name: 'desk' };
  const model = hearAll(message('Chat', {}, { text: 'a' }), message('Chat', {}, { text: 'b', conversationId: 'd' }), message('Chat', {}, { text: 'c', source: other }));
  assert.deepEqual(items(model).map((item) => item.text), ['a', 'b', 'c']);
});

test('pieces are put together by their sequence, whatever order they come in', () => {
  const model = hearAll(token('The ', 1), token('left', 3), token('parcel ', 2));
  assert.deepEqual(items(model).map((item) => [item.kind, item.text, item.state]), [['stream', 'The parcel left', 'writing']]);
});

test('pieces that do not pass their check are withdrawn, and another set may follow', () => {
  const withdrawn = hearAll(token('wrong', 1), message('Token', { messageId: 'm-9', valid: false, reason: 'UNGROUNDED', sequence: 2 }, { id: 't-2' }));
  assert.deepEqual(items(withdrawn).map((item) => [item.text, item.state, item.reason]), [['', 'withdrawn', 'UNGROUNDED']]);
  const again = hear(withdrawn, token('right', 3));
  assert.deepEqual(items(again).map((item) => [item.text, item.state]), [['right', 'writing']]);
});

test('the message takes the place of its pieces, and late pieces change nothing', () => {
  const model = hearAll(token('The ', 1), message('Chat', {}, { id: 'm-9', text: 'The parcel' }), token('parcel', 2));
  assert.deepEqual(items(model).map((item) => [item.kind, item.text]), [['message', 'The parcel']]);
  // Its id may be another one: then it is known by its sender and its beginning.
  const other = hearAll(token('The ', 1), message('Chat', {}, { id: 'm-7', text: 'The parcel' }));
  assert.deepEqual(items(other).map((item) => [item.kind, item.text]), [['message', 'The parcel']]);
  const foreign = hearAll(token('The ', 1), message('Chat', {}, { id: 'm-7', text: 'Else' }));
  assert.deepEqual(items(foreign).map((item) => item.kind), ['stream', 'message']);
});

test('a receipt marks its message, never back, and may come before it', () => {
  const receipt = (kind, id = 'm-1') => message('Receipt', { receipt: kind, messageId: id }, { id: `r-${kind}` });
  const own = message('Chat', {}, { text: 'hello', direction: 'Incoming' });
  const model = hearAll(own, receipt('read'), receipt('delivered'));
  assert.equal(items(model)[0].progress, 'read');
  assert.equal(items(hearAll(receipt('delivered'), own))[0].progress, 'delivered');
  assert.equal(items(hearAll(own))[0].progress, 'sent');
});

test('typing shows, and goes by its end, by a message, by time, and with its source', () => {
  const typing = (state) => message('Typing', { state }, { id: `y-${state}` });
  const on = hearAll(typing('started'));
  assert.deepEqual(on.typing.map((one) => one.name), ['Ava']);
  assert.deepEqual(hear(on, typing('stopped')).typing, []);
  assert.deepEqual(hear(on, message('Chat', {}, { text: 'x' })).typing, []);
  assert.deepEqual(happen(on, { kind: 'tick', at: TYPING_MS - 1 }).typing.length, 1);
  assert.deepEqual(happen(on, { kind: 'tick', at: TYPING_MS }).typing, []);
  assert.deepEqual(tell(on, 'source_down', { source: SOURCE, reason: 'reset' }).typing, []);
  assert.deepEqual(hearAll(message('Typing', { state: 'started' }, { direction: 'Incoming' })).typing, []);
});

test('what was typed here becomes its echo: by id, else by its words', () => {
  const sending = { kind: 'sending', source: 'care', conversation: 'c', text: 'hello', time: '2026-01-19T18:39:10.000Z' };
  const echo = (id) => message('Chat', {}, { id, text: 'hello', direction: 'Incoming', sender: { role: 'participant' } });
  for (const id of ['own', 'of-the-backend']) {
    const model = hear(happen(initial(), { ...sending, id: 'own' }), echo(id));
    assert.deepEqual(items(model).map((item) => [item.text, item.progress, item.isPending ?? false]), [['hello', 'sent', false]], id);
  }
  // The echo may be faster than the answer to the call.
  const early = happen(hear(happen(initial(), { ...sending, id: 'own' }), echo('other')), { kind: 'sent', source: 'care', conversation: 'c', id: 'own', echoes: true });
  assert.deepEqual(items(early).map((item) => item.progress), ['sent']);
  const twice = [1, 2].reduce((model, number) => happen(model, { ...sending, id: `own-${number}` }), initial());
  assert.equal(items(hear(hear(twice, echo('a')), echo('b'))).length, 2);
  const failed = happen(happen(initial(), { ...sending, id: 'own' }), { kind: 'sent', source: 'care', conversation: 'c', id: 'own', error: '403 Forbidden', echoes: true });
  assert.deepEqual(items(failed).map((item) => [item.progress, item.error]), [['failed', '403 Forbidden']]);
  const silent = happen(happen(initial(), { ...sending, id: 'own' }), { kind: 'sent', source: 'care', conversation: 'c', id: 'own', echoes: false });
  assert.deepEqual(items(silent).map((item) => [item.progress, item.isPending]), [['sent', false]]);
});

test('sources come and go, with reasons', () => {
  const tag = { name: 'care', backend: 'salesforce' };
  let model = initial([tag]);
  assert.equal(model.sources.care.state, 'waiting');
  model = tell(model, 'source_down', { source: tag, reason: 'refused', retryInSeconds: 3 }, 1000);
  assert.deepEqual([model.sources.care.state, model.sources.care.reason, model.sources.care.retryAt], ['down', 'refused', 4000]);
  model = tell(model, 'source_up', { source: tag, resumed: false });
  assert.deepEqual([model.sources.care.state, model.sources.care.reason], ['up', undefined]);
  assert.deepEqual(items(model).map((item) => item.title), ['care is away', 'care is back']);
  assert.equal(tell(model, 'source_down', { source: tag, reason: 'ended' }).sources.care.state, 'ended');
});

test('a resume counts what it brings and what comes twice', () => {
  let model = tell(initial(), 'connected', connected(false));
  assert.deepEqual([model.phase, items(model).length], ['open', 0]);
  model = hear(model, message('Chat', {}, { id: 'a', text: 'a' }));
  model = happen(model, { kind: 'cut' });
  model = happen(model, { kind: 'opening', at: 5, heartbeatSeconds: 5 });
  model = tell(model, 'connected', connected(true, '2026-01-19T18:40:00.000Z'));
  for (const [id, createdAt] of [['b', '2026-01-19T18:39:40.000Z'], ['c', '2026-01-19T18:39:50.000Z'], ['d', '2026-01-19T18:40:01.000Z'], ['e', '2026-01-19T18:39:59.000Z']]) {
    model = hear(model, message('Chat', {}, { id, text: id, createdAt }));
  }
  assert.deepEqual([model.stream.opens, model.stream.resumed, model.stream.replayed, model.stream.duplicates], [2, true, 2, 0]);
  model = onEvent(model, { name: 'Chat', id: model.stream.cursor, data: message('Chat', {}, { id: 'e', text: 'e' }), at: 0, types: TYPES });
  assert.equal(model.stream.duplicates, 1);
});

test('a gap is told, of the core vocabulary too', () => {
  const gap = { timestamp: '2026-01-19T18:39:11.000Z', source: { name: 'care', backend: 'salesforce' }, reason: 'upstream_no_replay', since: '2026-01-19T18:39:00.000Z' };
  const model = tell(initial(), 'gap', gap);
  assert.equal(model.stream.gaps, 1);
  assert.equal(items(model)[0].title, 'Events of care may be missing');
  const core = message('Data', { kind: 'gap', data: { timestamp: gap.timestamp, reason: 'cursor_expired' } }, { source: { name: 'chatmux', backend: 'chatmux', event: 'gap' } });
  const told = onEvent(initial(), { name: 'Data', id: '', data: core, at: 0, types: TYPES });
  assert.deepEqual([told.stream.gaps, items(told)[0].title], [1, 'Events may be missing']);
});

test('the core vocabulary shows as the full one', () => {
  const core = message('Data', { kind: 'Typing', data: { state: 'started' } });
  assert.deepEqual([full(core, TYPES).messageType, full(core, TYPES).data], ['Typing', { state: 'started' }]);
  const own = message('Data', { kind: 'location', latitude: 1 });
  assert.equal(full(own, TYPES), own);
  // XiansAi's own data may look like it.
  const passed = message('Data', { kind: 'Typing', data: 1 }, { source: { ...SOURCE, backend: 'xians', event: 'Data' } });
  assert.equal(full(passed, TYPES), passed);
});

test('chatmux ends a stream, refuses one, and the connection is lost', () => {
  const open = tell(initial(), 'connected', connected(false));
  assert.match(items(tell(open, 'disconnected', { timestamp: '', reason: 'draining' }))[0].more, /going away.*\(draining\)/);
  const refused = tell(initial(), 'refused', { code: 401, error: 'Unauthorized', message: 'Send a key.' });
  assert.deepEqual([refused.phase, refused.problem], ['refused', { title: '401 Unauthorized', advice: 'Send a key.' }]);
  const lost = happen(open, { kind: 'lost' });
  assert.deepEqual([lost.phase, lost.stream.losses], ['retrying', 1]);
  assert.equal(isSilent(happen(open, { kind: 'opening', at: 0, heartbeatSeconds: 5 }), 60_000), false, 'not open');
  const alive = tell(happen(initial(), { kind: 'opening', at: 0, heartbeatSeconds: 5 }), 'connected', connected(false), 1000);
  assert.deepEqual([isSilent(alive, 16_000), isSilent(alive, 16_001)], [false, true]);
});

test('the conversation is bounded', () => {
  let model = initial();
  for (let number = 0; number < ITEMS_MAX + 3; number += 1) model = hear(model, message('Chat', {}, { id: `${number}`, text: `${number}` }));
  assert.deepEqual([items(model).length, items(model)[0].text, model.timeline.cut], [ITEMS_MAX, '3', 3]);
});

test('notes say in words what happened', () => {
  const words = (type, data, more) => {
    const { title, more: rest, tone } = line(message(type, data, more));
    return [title, rest ?? '', tone].join(' | ');
  };
  assert.equal(words('Status', { state: 'queued', position: 2, estimatedWaitSeconds: 45 }), 'Waiting in the queue | place 2 · about 45 s | info');
  assert.equal(words('Handoff', { phase: 'completed', fromAgent: 'Ava', toAgent: 'Zoë', reason: 'transfer' }), 'Handed over | Ava → Zoë · transfer | handoff');
  assert.equal(words('Participant', { change: 'left', participant: { name: 'Zoë', role: 'agent' } }), 'Zoë left | agent | people');
  assert.equal(words('Notice', { level: 'warning', code: 'inactivity' }, { text: 'Still there?' }), 'Still there? | inactivity | warning');
  assert.equal(words('Raw', { event: 'x', body: 1 }), 'No mapping: x |  | step');
  assert.equal(words('Status', { state: 'constructor' }), 'constructor |  | plain');
});

test('a message can go where somebody has written', () => {
  const model = hearAll(message('Chat', {}, { text: 'a' }), message('Status', { state: 'active' }, { id: 's', conversationId: 'queue' }), message('Chat', {}, { id: 'o', text: 'b', direction: 'Incoming' }));
  assert.deepEqual(conversations(model), [{ source: 'care', conversation: 'c', name: 'Ava' }]);
  assert.deepEqual(conversations(hearAll(message('Chat', { room: 'help@conference' }, { text: 'a' }))), [], 'rooms take another call');
});

const SETTINGS = { base: 'http://127.0.0.1:8080', path: '/events', tenantId: 'acme', workflow: 'a b', participantId: 'jane', credential: 'key' };

test('a stream has the URL that its settings say', () => {
  assert.equal(streamUrl(SETTINGS).href, 'http://127.0.0.1:8080/events?tenantId=acme&workflow=a+b&participantId=jane&apikey=key');
  const more = { ...SETTINGS, tenantId: '', credential: 'a.b.c', vocabulary: 'core', heartbeatSeconds: '2', types: ['Chat', 'File'], errorsEvent: true };
  assert.equal(streamUrl(more, '1.e.3').search, '?workflow=a+b&participantId=jane&access_token=a.b.c&vocabulary=core&heartbeatSeconds=2&types=Chat%2CFile&errors=event&lastEventId=1.e.3');
  assert.deepEqual([isToken('a.b.c'), isToken('a.b'), isToken('sk-1.2.3.4')], [true, false, false]);
  assert.deepEqual(credentialHeaders('a.b.c'), { Authorization: 'Bearer a.b.c' });
  assert.deepEqual(credentialHeaders(''), {});
});

test('each backend is sent to in its own way, through what the conf passes', () => {
  const proxies = [
    { source: 'desk', path: '/desk', to: '/api/rest', takesPost: true },
    { source: 'agent', path: '/agent', to: '/', takesPost: true },
    { source: 'care', path: '/care', to: '/iamessage/api/v2', takesPost: true },
    { source: 'voice', path: '/', to: '/', takesPost: true },
    { source: 'shut', path: '/shut', to: '/', takesPost: false },
  ];
  const made = (name, backend) => {
    const { recipe, proxy } = wayTo({ name, backend }, proxies);
    const [url, init] = request(recipe.message({ conversation: 'c/1', id: 'i', text: 'a & b' }), proxy, SETTINGS);
    assert.deepEqual(Object.keys(init.headers), ['X-API-Key', 'Content-Type']);
    return `${url.pathname}${url.search} ${init.body}`;
  };
  const who = 'tenantId=acme&workflow=a+b&participantId=jane';
  assert.equal(made('desk', 'openfire'), `/desk/chat/message/c%2F1?${who} a & b`);
  assert.equal(made('agent', 'xians'), `/agent/api/user/rest/send?type=Chat&requestId=i&text=a+%26+b&${who} {}`);
  assert.equal(made('care', 'salesforce'), `/care/conversation/c%2F1/message?${who} {"message":{"id":"i","messageType":"StaticContentMessage","staticContent":{"formatType":"Text","text":"a & b"}}}`);
  assert.equal(made('voice', 'brightpattern'), `/chats/c%2F1/events?${who} {"events":[{"event":"chat_session_message","msg_id":"c/1:i","msg":"a & b"}]}`);
  assert.equal(wayTo({ name: 'shut', backend: 'xians' }, proxies), undefined);
  assert.equal(wayTo({ name: 'none', backend: 'xians' }, proxies), undefined);
  assert.equal(wayTo({ name: 'desk', backend: 'constructor' }, proxies), undefined);
  assert.equal(pathThrough({ path: '/a', to: '/deep/er' }, '/deep/elsewhere'), undefined);
});

test('a page without a stream says of no source that it is open', () => {
  const begun = happen(initial([{ name: 'care', backend: 'salesforce' }, { name: 'voice', backend: 'brightpattern' }]), { kind: 'opening', at: 0, heartbeatSeconds: 5 });
  const states = (model) => Object.values(model.sources).map((source) => sourceState(model, source));
  assert.deepEqual(states(begun), ['waiting', 'waiting']);
  const open = tell(tell(tell(begun, 'connected', connected(false)), 'source_up', { source: { name: 'care', backend: 'salesforce' } }), 'source_down', { source: { name: 'voice', backend: 'brightpattern' }, reason: 'ended' });
  assert.deepEqual(states(open), ['up', 'ended']);
  const problem = { title: '401 Unauthorized', advice: '' };
  for (const after of [{ kind: 'problem', problem, isFinal: true }, { kind: 'lost' }, { kind: 'cut' }, { kind: 'closed' }]) {
    assert.deepEqual(states(happen(open, after)), ['shut', 'ended'], after.kind);
    assert.deepEqual(states(happen(begun, after)), ['shut', 'shut'], after.kind);
  }
});

test('refusals are explained', () => {
  assert.deepEqual(ofAnswer(401, { error: 'Unauthorized', message: 'Send a key.' }), { title: '401 Unauthorized', advice: 'Send a key. Enter an API key or a token that this server knows.' });
  assert.deepEqual(ofAnswer(429, undefined, '7').advice, 'Too many streams were opened, or are open. Try again in 7 s.');
  const url = new URL('http://127.0.0.1:8080/events');
  assert.match(ofSilence(true, url, 'http://127.0.0.1:9090').advice, /Add "http:\/\/127\.0\.0\.1:9090" to cors\.allow_origins/);
  assert.match(ofSilence(false, url, 'x').title, /No answer/);
});

test('a link brings fields and a credential, but no address', () => {
  assert.deepEqual(fromFragment('#workflow=w&participantId=jane&apikey=k&base=http://evil.example&credential=x'), { workflow: 'w', participantId: 'jane', credential: 'k' });
  assert.deepEqual(fromFragment(''), {});
  assert.deepEqual(listenUrls(['http://0.0.0.0:80', 'https://[::]:443', 'http://10.0.0.5:80'], 'desk.example'), ['http://desk.example:80', 'https://desk.example:443', 'http://10.0.0.5:80']);
});

test('only addresses of the web become links', () => {
  for (const bad of ['javascript:alert(1)', ' javascript:alert(1)', 'JaVaScRiPt:alert(1)', 'data:text/html,x', 'vbscript:x', 'blob:x', 'file:///etc/passwd', '/relative', '', undefined, 7, {}]) {
    assert.equal(safeUrl(bad), undefined, String(bad));
  }
  assert.equal(safeUrl('https://example.org/a b').href, 'https://example.org/a%20b');
  assert.equal(safeUrl('/voice/file', 'http://127.0.0.1:8080').href, 'http://127.0.0.1:8080/voice/file');
});

test('a self-test is judged by when its events came', () => {
  const event = (sentMs, at, name = 'probe', more = {}) => ({ at, event: name, data: { sentMs, ...more } });
  const sent = [0, 0, 250, 500, 750, 1000, 2000];
  const end = (at) => event(2100, at, 'end', { reason: 'done' });
  const plain = [...sent.map((ms) => event(ms, ms + 3)), end(2103)];
  assert.deepEqual(judge(plain, 2110, null), []);
  assert.match(judge([...sent.map((ms) => event(ms, 2100)), end(2101)], 2110, null).join(), /buffers/);
  assert.match(judge(plain, 2110, 'gzip').join(), /compresses \(gzip\)/);
  assert.match(judge(plain.slice(0, 6), 4000, null).join(), /cuts after 2997 ms of silence/);
  assert.match(judge(plain.slice(0, 7), 2010, null).join(), /cut after 2010 ms in all/);
  assert.match(judge([...plain.slice(0, 7), event(2050, 2050, 'end', { reason: 'draining' })], 2051, null).join(), /early \(draining\)/);
  assert.deepEqual(split('event: begin\ndata: {"sentMs":0}\n\nevent: pro'), [[{ event: 'begin', data: { sentMs: 0 } }], 'event: pro']);
  assert.equal(selfTestUrl({ ...SETTINGS, types: ['Chat'], errorsEvent: true }).href, 'http://127.0.0.1:8080/events/selftest?tenantId=acme&workflow=a+b&participantId=jane&apikey=key');
});

test('the log is filtered by name, source and words, and keeps what came', () => {
  const entry = { name: 'Chat', id: '1.e.1', text: '{"n":109.970,"text":"Hello"}', source: 'care' };
  const all = { hidden: new Set(), source: '', words: '' };
  assert.equal(passes(entry, all), true);
  assert.equal(passes(entry, { ...all, hidden: new Set(['Chat']) }), false);
  assert.equal(passes(entry, { ...all, source: 'desk' }), false);
  assert.deepEqual(['hELLo', 'chat', 'nothing'].map((words) => passes(entry, { ...all, words })), [true, true, false]);
  assert.equal(gist({ ...entry, kind: 'message' }), 'Hello');
  assert.equal(gist({ kind: 'message', text: '{"data":{"state":"started"}}' }), '{"state":"started"}');
  assert.equal(raw(entry), 'event: Chat\nid: 1.e.1\ndata: {"n":109.970,"text":"Hello"}');
});
