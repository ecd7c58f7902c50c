// Every action of the console, on scripted backends that do as they are told.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { NARROW, WIDE, act, open, over, push, step } from './harness.mjs';

const { CHAT, RELAY, SHUT_CONSOLE, WHO } = process.env;
const ALL = ['desk', 'agent', 'care', 'voice'];

after(over);

/** A test with a page of its own, closed at its end whatever happens. */
function on(name, options, body) {
  test(name, async () => {
    const page = await open(options);
    try {
      await body(page);
    } finally {
      await page.close();
    }
  });
}

/** A frame of Salesforce: an entry in its envelope. */
function entry(event, entryType, payload, sender = {}, id = crypto.randomUUID()) {
  const { name = 'Ava', role = 'Chatbot' } = sender;
  return push('care', event, {
    channelType: 'embedded_messaging', conversationId: CHAT,
    conversationEntry: {
      senderDisplayName: name, identifier: id, entryType, entryPayload: JSON.stringify({ entryType, id, ...payload }),
      sender: { role, appType: 'chatbot', subject: '0XxHx' }, transcriptedTimestamp: Date.now(), clientTimestamp: Date.now(), relatedRecords: [],
    },
  });
}
const token = (target, sequenceNumber, text) =>
  entry('CONVERSATION_STREAMING_TOKEN', 'StreamingToken', {
    streamingToken: { tokenType: 'MessageStreamingToken', sequenceNumber, targetMessageIdentifier: target, token: { formatType: 'Text', text } },
  });
const verdict = (target, sequenceNumber, valid, reason) =>
  entry('CONVERSATION_STREAMING_TOKEN', 'StreamingToken', {
    streamingToken: { tokenType: 'StreamingTokenValidation', sequenceNumber, targetMessageIdentifier: target, result: { valid, reason } },
  });
const says = (id, staticContent, sender) =>
  entry('CONVERSATION_MESSAGE', 'Message', { abstractMessage: { messageType: 'StaticContentMessage', id, inReplyToMessageId: null, references: [], staticContent }, messageReason: null }, sender, id);
/** A frame of Openfire: a message from the agent. */
const stanza = (inside) => {
  const text = `<message xmlns="jabber:client" from="zoe@example.org/desk" to="jane@example.org/x" type="chat" id="${crypto.randomUUID()}">${inside}</message>`;
  return push('desk', 'chatapi.xmpp', { xmpp: Buffer.from(text).toString('base64') });
};

on('a form that is filled in connects, and the credential stays out of the address', { fragment: '' }, async ({ page, ...on }) => {
  await on.phase('Not connected');
  await page.getByLabel('Tenant').fill('acme');
  await page.getByLabel('Workflow').fill('customer-support');
  await page.getByRole('textbox', { name: 'Participant' }).fill('jane');
  const key = page.getByLabel('API key or token');
  assert.equal(await key.getAttribute('type'), 'password');
  await key.fill(new URLSearchParams(WHO).get('apikey'));
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  await on.connected();
  assert.equal(new URL(page.url()).href.split('/console/')[1], '');
  // A reload of the tab goes on with what was typed.
  await page.reload();
  assert.notEqual(await page.getByLabel('API key or token').inputValue(), '');
});

on('a link with a credential connects at once and leaves no trace of it', {}, async ({ page, ...on }) => {
  await on.connected();
  assert.equal(new URL(page.url()).hash, '');
  assert.equal(await page.evaluate(() => Object.keys(localStorage).join()), 'chatmux-theme');
});

on('it shows what all four say', {}, async ({ page, said, ...on }) => {
  await on.connected();
  for (const source of ALL) await step(source, 'says', `Grüße von ${source} 👋 <b>&`);
  for (const source of ALL) {
    await said(`Grüße von ${source} 👋 <b>&`).waitFor();
    const message = page.locator(`.message[data-source=${source}]`);
    assert.equal(await message.count(), 1);
    assert.equal(await message.locator('.of-source').textContent(), source);
  }
  const sender = page.locator('.message[data-source=care] .who');
  assert.match(await sender.textContent(), /Zoë Núñez.*agent/);
  await on.figure('Duplicates', 0);
});

on('typing shows and goes', {}, async ({ page, ...on }) => {
  await on.connected();
  await step('care', 'typing');
  await page.locator('#typing', { hasText: 'Zoë Núñez is typing…' }).waitFor();
  await step('care', 'stops');
  await page.locator('#typing[data-on=false]').waitFor();
});

on('receipts mark the message', {}, async ({ page, said, ...on }) => {
  await on.connected();
  await step('voice', 'own', 'Has it arrived?');
  await said('Has it arrived?').waitFor();
  const message = page.locator('.message.mine');
  assert.equal(await message.getAttribute('data-progress'), 'sent');
  await step('voice', 'delivered');
  await page.locator('.message.mine[data-progress=delivered]', { hasText: 'Delivered' }).waitFor();
  await step('voice', 'read');
  await page.locator('.message.mine[data-progress=read]', { hasText: 'Read' }).waitFor();
});

on('a hand-over is told', {}, async ({ page, ...on }) => {
  await on.connected();
  await step('voice', 'queued');
  await step('voice', 'bot_joins');
  await step('voice', 'handoff', 'escalation');
  await page.locator('.tone-handoff', { hasText: 'Handed over' }).filter({ hasText: 'Ava → Zoë Núñez' }).waitFor();
  await page.locator('.source[data-source=voice]', { hasText: 'Here: Zoë Núñez' }).waitFor();
});

on('a file of a backend is fetched with the credential, one of the web is a link', {}, async ({ page, ...on }) => {
  await on.connected();
  await step('voice', 'file', 'étiquette.pdf');
  const button = page.getByRole('button', { name: 'étiquette.pdf' });
  const download = page.waitForEvent('download');
  await button.click();
  assert.equal((await download).suggestedFilename(), 'étiquette.pdf');
  await step('desk', 'file', 'label.pdf');
  const link = page.locator('.message[data-source=desk] .file a');
  await link.waitFor();
  assert.match(await link.getAttribute('href'), /^https:\/\/example\.org\/files\/.*label\.pdf$/);
  assert.deepEqual([await link.getAttribute('rel'), await link.getAttribute('target')], ['noopener noreferrer', '_blank']);
  await step('care', 'file', 'elsewhere.pdf');
  await page.locator('.message[data-source=care] .no-link', { hasText: 'elsewhere.pdf' }).waitFor();
});

on('streamed pieces are put together, withdrawn, and replaced', {}, async ({ page, said, ...on }) => {
  await on.connected();
  for (const [number, words] of [[1, 'It left '], [3, 'this morning'], [2, 'the depot ']]) await token('s-1', number, words);
  await said('It left the depot this morning').waitFor();
  const stream = page.locator('.message[data-kind=stream]');
  assert.equal(await stream.getAttribute('aria-busy'), 'true');
  await verdict('s-1', 4, false, 'UNGROUNDED');
  await page.locator('.message[data-state=withdrawn]', { hasText: 'Withdrawn' }).filter({ hasText: 'UNGROUNDED' }).waitFor();
  assert.equal(await said('It left the depot this morning').count(), 0);
  await on.shot('withdrawn');
  await token('s-1', 5, 'It is still');
  await said('It is still').waitFor();
  await says('s-1', { formatType: 'Text', text: 'It is still in the depot.' });
  await said('It is still in the depot.').waitFor();
  assert.deepEqual([await page.locator('.message').count(), await stream.count()], [1, 0]);
  await step('care', 'streams', 'Word by word it comes.');
  await said('Word by word it comes.').waitFor();
  await on.count('.message', 2);
});

on('a form, a status, a notice, a step and what has no mapping are told', {}, async ({ page, ...on }) => {
  await on.connected();
  await push('voice', 'chat_session_form_show', { event: 'chat_session_form_show', form_request_id: 17, form_name: 'Address', form_timeout: 120 });
  await page.locator('.message[data-kind=form]', { hasText: 'Address' }).filter({ hasText: 'within 120 s' }).waitFor();
  await step('care', 'queued');
  await page.locator('.note[data-type=Status]', { hasText: 'Waiting in the queue' }).filter({ hasText: 'about 45 s' }).waitFor();
  await page.locator('.source[data-source=care]', { hasText: 'Waiting in the queue' }).waitFor();
  await push('voice', 'chat_session_timeout_warning', { event: 'chat_session_timeout_warning', msg: 'Are you still there?' });
  await page.locator('.note.tone-warning', { hasText: 'Are you still there?' }).waitFor();
  await step('agent', 'bot_thinks', 'Looking it up');
  await page.locator('.note[data-type=Reasoning]').waitFor();
  await push('voice', 'chat_session_survey', { event: 'chat_session_survey', url: 'x' });
  const unknown = page.locator('.note[data-type=Raw]', { hasText: 'No mapping: chat_session_survey' });
  await unknown.locator('summary').click();
  await unknown.locator('pre', { hasText: '"url": "x"' }).waitFor();
});

on('the log has every event as it came, with filters', {}, async ({ page, ...on }) => {
  await on.connected();
  await step('care', 'says', 'needle');
  await step('agent', 'says', 'hay');
  const rows = page.locator('#rows .row');
  await rows.filter({ hasText: 'needle' }).waitFor();
  await rows.filter({ hasText: 'hay' }).waitFor();
  assert.ok((await page.locator('.row[data-name=source_up]').count()) >= 4);
  await page.getByLabel('Find').fill('NEEDLE');
  await on.count('#rows .row', 1);
  await rows.locator('summary').click();
  await rows.locator('pre', { hasText: /^event: Chat\nid: \S+\ndata: \{.*"text":"needle"/ }).waitFor();
  await page.getByLabel('Find').fill('');
  await page.getByLabel('Source', { exact: true }).selectOption('agent');
  await page.waitForFunction(() => ![...document.querySelectorAll('#rows .row')].some((row) => row.textContent.includes('needle')));
  assert.equal(await rows.filter({ hasText: 'hay' }).count(), 1);
  await page.getByLabel('Source', { exact: true }).selectOption('');
  const chip = page.locator('.chip[data-name=Chat]');
  await chip.click();
  assert.equal(await chip.getAttribute('aria-pressed'), 'false');
  await on.count('.row[data-name=Chat]', 0);
  await chip.click();
  await on.count('.row[data-name=Chat]', 2);
  // Heartbeats are counted, and shown when they are asked for.
  await page.locator('.chip[data-name=heartbeat]').click();
  await page.locator('.row[data-name=heartbeat]').first().waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  await step('care', 'says', 'held back');
  await page.locator('#shown', { hasText: 'wait' }).waitFor();
  assert.equal(await rows.filter({ hasText: 'held back' }).count(), 0);
  await page.getByRole('button', { name: 'Pause' }).click();
  await rows.filter({ hasText: 'held back' }).waitFor();
  await page.getByRole('button', { name: 'Clear' }).click();
  assert.equal(await rows.filter({ hasText: 'held back' }).count(), 0);
});

on('vocabulary, types and heartbeat are picked while it runs', {}, async ({ page, said, ...on }) => {
  const asked = [];
  page.on('request', (request) => request.resourceType() === 'eventsource' && asked.push(new URL(request.url()).searchParams));
  await on.connected();
  await page.getByText('Options', { exact: true }).click();
  await page.getByLabel('Heartbeat, s').fill('1');
  await page.getByLabel('Heartbeat, s').press('Enter');
  await page.waitForFunction(() => Number(document.querySelector('[data-figure=Heartbeats] dd').textContent) >= 2);
  assert.equal(asked.at(-1).get('heartbeatSeconds'), '1');
  await page.getByLabel('Vocabulary').selectOption('core');
  await page.locator('.row[data-name=connected]').nth(1).waitFor();
  assert.equal(asked.at(-1).get('vocabulary'), 'core');
  await step('care', 'typing');
  await page.locator('#typing', { hasText: 'Zoë Núñez' }).waitFor();
  await page.locator('.row[data-name=Data]', { hasText: '"kind":"Typing"' }).waitFor();
  await page.getByLabel('Vocabulary').selectOption('full');
  await page.getByRole('checkbox', { name: 'Chat', exact: true }).check();
  await page.waitForFunction(() => document.querySelectorAll('.row[data-name=connected]').length >= 4);
  assert.equal(asked.at(-1).get('types'), 'Chat');
  await step('care', 'stops');
  await step('care', 'says', 'only this');
  await said('only this').waitFor();
  assert.equal(await page.locator('.row[data-name=Typing]').count(), 0);
  await page.getByRole('button', { name: 'All types' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.row[data-name=connected]').length >= 5);
  assert.equal(asked.at(-1).get('types'), null);
});

on('a cut is resumed without loss or duplicate', {}, async ({ page, said, ...on }) => {
  await on.connected();
  await step('care', 'says', 'before the cut');
  await said('before the cut').waitFor();
  await page.getByRole('button', { name: 'Cut', exact: true }).click();
  await on.phase('Cut');
  const observer = await open();
  await observer.connected();
  for (const source of ALL) await step(source, 'says', `while away, ${source}`);
  for (const source of ALL) await observer.said(`while away, ${source}`).waitFor();
  await observer.close();
  assert.equal(await page.locator('.message').count(), 1);
  await page.getByRole('button', { name: 'Resume' }).click();
  await on.phase('Connected');
  for (const source of ALL) await said(`while away, ${source}`).waitFor();
  await on.figure('Resumed', 'yes');
  await on.figure('Replayed', 4);
  await on.figure('Duplicates', 0);
  await page.locator('.break', { hasText: 'Back, and nothing was missed' }).waitFor();
  await step('care', 'says', 'after the cut');
  await said('after the cut').waitFor();
  assert.equal(await page.locator('.message').count(), 6);
  await on.shot('resumed');
});

on('a connection that is lost comes back by itself', { fragment: WHO.replace(/&apikey=.*/, ''), bypassCSP: true }, async ({ page, said, ...on }) => {
  await page.getByLabel('Address').fill(RELAY);
  await page.getByLabel('API key or token').fill(new URLSearchParams(WHO).get('apikey'));
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  await on.connected();
  await step('care', 'says', 'before the loss');
  await said('before the loss').waitFor();
  await act('cut');
  await on.phase('Reconnecting…');
  await step('care', 'says', 'during the loss');
  await on.phase('Connected');
  await said('during the loss').waitFor();
  await on.figure('Losses', 1);
  await on.figure('Resumed', 'yes');
  await on.count('.message', 2);
});

on('disconnect ends it, connect begins anew', {}, async ({ page, said, ...on }) => {
  await on.connected();
  await step('care', 'says', 'heard');
  await said('heard').waitFor();
  await page.getByRole('button', { name: 'Disconnect' }).click();
  await on.phase('Not connected');
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  await on.connected();
  await on.count('.message', 0);
});

on('a message goes to each backend, and its echo comes back', {}, async ({ page, said, ...on }) => {
  await on.connected();
  for (const source of ALL) await step(source, 'says', `write to ${source}`);
  for (const source of ALL) await said(`write to ${source}`).waitFor();
  const field = page.getByLabel('Message');
  for (const source of ALL) {
    const option = page.locator('#composer option', { hasText: new RegExp(`^${source}:`) });
    await page.getByLabel('To', { exact: true }).selectOption(await option.getAttribute('value'));
    const text = `hello ${source}, "über" <&>\nsecond line`;
    await field.fill(text);
    await page.getByRole('button', { name: 'Send' }).click();
    const own = page.locator(`.message.mine[data-source=${source}]`);
    await own.and(page.locator('[data-progress=sent]')).waitFor();
    assert.equal(await own.locator('.text').textContent(), text, source);
    // XiansAi tells nobody their own words; all others do, on the stream.
    const echoes = page.locator('#rows .row[data-name=Chat]', { hasText: `hello ${source}` });
    if (source !== 'agent') await echoes.waitFor();
    assert.equal(await echoes.count(), source === 'agent' ? 0 : 1, source);
    assert.equal(await own.count(), 1, source);
    const requests = JSON.stringify(await act('requests', { source }));
    assert.ok(requests.includes(`hello ${source}`) || requests.includes('/api/user/rest/send'), requests);
    const typing = { desk: 'chatstate/composing', care: 'TypingStartedIndicator', voice: 'chat_session_typing' }[source];
    assert.ok(typing === undefined || requests.includes(typing), `${source} is told that somebody types`);
  }
});

on('by keyboard alone', {}, async ({ page, said, ...on }) => {
  await on.connected();
  await step('care', 'says', 'press keys');
  await said('press keys').waitFor();
  await page.locator('#composer option', { hasText: /^care: Zoë/ }).waitFor({ state: 'attached' });
  const reached = [];
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => {
      const { activeElement: one } = document;
      const outline = getComputedStyle(one).outlineStyle;
      return { name: one.id || one.dataset.action || one.getAttribute('name') || one.tagName, outline };
    });
    assert.notEqual(focused.outline, 'none', `${focused.name} shows that it has the focus`);
    reached.push(focused.name);
    if (focused.name === 'composer-text') break;
  }
  for (const name of ['theme', 'SUMMARY', 'connect', 'disconnect', 'cut', 'timeline', 'to', 'composer-text']) {
    assert.ok(reached.includes(name), `${name} of ${reached}`);
  }
  await page.keyboard.type('one');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('two');
  await page.keyboard.press('Enter');
  await page.locator('.message.mine .text', { hasText: 'one\ntwo' }).waitFor();
});

on('hostile text stays text', {}, async ({ page, said, ...on }) => {
  await on.connected();
  const payload = '<img src=x onerror=alert(1)><script>alert(2)</script>';
  await says('x-1', { formatType: 'Text', text: payload }, { name: `Eve ${payload}`, role: 'Agent' });
  await says('x-2', { formatType: 'RichLink', linkItem: { itemType: 'TitleLinkItem', titleItem: { itemType: 'TitleItem', title: payload }, url: 'javascript:alert(3)' } });
  await push('agent', 'File', {
    id: 'x-4', threadId: 't', workflowId: 'acme:customer-support', workflowType: 'customer-support', participantId: 'jane', direction: 'Outgoing',
    messageType: 'File', text: payload, data: { files: [{ name: payload, kind: 'image', url: 'javascript:alert(4)' }, { name: 'data', url: 'data:text/html,<script>alert(8)</script>' }] },
    createdAt: '2026-01-19T18:43:09.0747281Z', createdBy: payload,
  });
  await stanza(`<body>&lt;svg onload=alert(5)&gt;</body><subject>&lt;b&gt;</subject>`);
  await push('voice', 'chat_session_file', { event: 'chat_session_file', file_id: '../x"><b>', file_name: payload, file_type: 'attachment', msg_id: '901', party_id: 'E' });
  await push('voice', 'chat_session_message', { event: 'chat_session_message', msg: '<b onclick="alert(6)">bold</b><a href="javascript:alert(7)">link</a>', msg_id: '903', party_id: 'E' });
  await push('voice', `<b>${payload}`, { event: `<b>${payload}`, __proto__: { x: 1 } });
  await push('voice', 'chat_session_form_show', { event: 'chat_session_form_show', form_request_id: payload, form_name: payload });
  await said(payload).first().waitFor();
  await said('<svg onload=alert(5)>').waitFor();
  await page.locator('.message[data-source=care] .name', { hasText: payload }).first().waitFor();
  await page.locator('.message[data-source=voice] .file', { hasText: payload }).waitFor();
  await page.locator('.form-title', { hasText: payload }).waitFor();
  await page.locator('.note[data-type=Raw]', { hasText: payload }).waitFor();
  await page.locator('.message[data-source=agent] .no-link', { hasText: payload }).waitFor();
  await page.locator('.message[data-source=agent] .no-link', { hasText: /^data$/ }).waitFor();
  const made = await page.evaluate(() => document.querySelectorAll('main :is(img, script, svg, b, iframe, [onerror], [onclick], [href^="javascript:"])').length);
  assert.equal(made, 0);
  for (const link of await page.locator('main a').all()) assert.match(await link.getAttribute('href'), /^https?:/);
});

on('a wrong key is explained, and a right one helps', { fragment: WHO.replace(/apikey=.*/, 'apikey=wrong') }, async ({ page, ...on }) => {
  await on.phase('Refused');
  await page.getByRole('alert').filter({ hasText: '401 Unauthorized' }).filter({ hasText: 'API key' }).waitFor();
  assert.deepEqual(await page.locator('.source-state').allTextContents(), ALL.map(() => 'not open'));
  await page.getByLabel('API key or token').fill(new URLSearchParams(WHO).get('apikey'));
  await page.getByRole('button', { name: 'Try again' }).click();
  await on.connected();
  assert.equal(await page.getByRole('alert').textContent(), '');
});

on('what the credential does not open is explained', { fragment: WHO.replace('tenantId=acme', 'tenantId=other') }, async ({ page, ...on }) => {
  await on.phase('Refused');
  await page.getByRole('alert').filter({ hasText: '403 Forbidden' }).waitFor();
});

on('an edge that lets no page read says which line is missing', { console: SHUT_CONSOLE }, async ({ page, ...on }) => {
  const origin = new URL(SHUT_CONSOLE).origin;
  await page.getByRole('alert').filter({ hasText: 'CORS' }).filter({ hasText: `Add "${origin}" to cors.allow_origins` }).waitFor();
  await on.phase('Refused');
  assert.deepEqual(await page.locator('.source-state').allTextContents(), ['not open']);
});

on('an address where nobody is, is explained', { fragment: WHO.replace(/&apikey=.*/, ''), bypassCSP: true }, async ({ page, ...on }) => {
  await page.getByLabel('Address').fill('http://127.0.0.1:1');
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  await page.getByRole('alert').filter({ hasText: 'No answer' }).waitFor();
  void on;
});

on('what lies between is tested', {}, async ({ page, ...on }) => {
  await on.connected();
  // An answer that was held back: all of it comes at once.
  const events = [['begin', { sentMs: 0, takesMs: 1500 }], ...[250, 500, 750, 1000].map((sentMs) => ['probe', { sentMs }]), ['end', { sentMs: 1500, reason: 'done' }]];
  const body = events.map(([event, data]) => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`).join('');
  await page.route(/\/events\/selftest\?/, async (route) => {
    assert.equal(new URL(route.request().url()).searchParams.get('participantId'), 'jane');
    await route.fulfill({ body, contentType: 'text/event-stream', headers: { 'Access-Control-Allow-Origin': '*' } });
  });
  const button = page.getByRole('button', { name: 'Test what lies between' });
  await button.click();
  await page.locator('#selftest', { hasText: 'Something between buffers' }).waitFor();
  assert.equal(await button.isEnabled(), true);
  await page.unroute(/\/events\/selftest\?/);
  await button.click();
  await page.locator('#selftest', { hasText: /^Listening for \d+ s…$/ }).waitFor();
  // Nothing stands between this browser and the edge.
  await page.locator('#selftest', { hasText: 'Nothing between buffers, compresses or cuts.' }).waitFor();
});

on('what comes is followed, but not by whoever reads further up', { viewport: NARROW }, async ({ page, said, ...on }) => {
  await on.phase('Connected');
  const isAtEnd = () => page.waitForFunction(() => {
    const list = document.querySelector('#timeline');
    return list.clientHeight > 0 && list.scrollHeight > list.clientHeight && list.scrollHeight - list.scrollTop - list.clientHeight < 2;
  });
  for (let number = 0; number < 12; number += 1) await step('care', 'says', `line ${number}`);
  await said('line 11').waitFor();
  await isAtEnd();
  await page.getByRole('navigation').getByRole('button', { name: 'Events' }).click();
  await step('care', 'says', 'said meanwhile');
  await page.locator('#rows .row', { hasText: 'said meanwhile' }).waitFor();
  await page.getByRole('navigation').getByRole('button', { name: 'Chat' }).click();
  await isAtEnd();
  await page.locator('#timeline').evaluate((list) => list.scrollTo({ top: 0 }));
  const newest = page.getByRole('button', { name: 'To the newest' });
  await newest.waitFor();
  await step('care', 'says', 'further down');
  await said('further down').waitFor();
  assert.equal(await page.locator('#timeline').evaluate((list) => list.scrollTop), 0);
  await newest.click();
  await isAtEnd();
  await newest.waitFor({ state: 'hidden' });
});

on('the theme follows the system, or the button', { colorScheme: 'dark' }, async ({ page }) => {
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  const button = page.locator('#theme');
  await button.click();
  assert.equal(await button.textContent(), 'Theme: light');
  const light = await ground();
  assert.notEqual(light, dark);
  await page.reload();
  await page.locator('#theme', { hasText: 'Theme: light' }).waitFor();
  assert.equal(await ground(), light);
  await button.click();
  assert.deepEqual([await button.textContent(), await ground()], ['Theme: dark', dark]);
  await button.click();
  assert.deepEqual([await button.textContent(), await ground()], ['Theme: auto', dark]);
});

for (const colorScheme of ['light', 'dark']) {
  for (const [width, viewport] of [['wide', WIDE], ['narrow', NARROW]]) {
    on(`there are no barriers: ${colorScheme}, ${width}`, { colorScheme, viewport }, async ({ page, said, ...on }) => {
      await on.connected();
      await token('b-1', 1, 'a piece');
      await verdict('b-1', 2, false, 'UNGROUNDED');
      for (const name of ['own', 'says']) await step('voice', name, `${name} ${colorScheme} ${'long'.repeat(60)}`);
      await step('voice', 'file', 'label.pdf');
      await step('voice', 'typing');
      await push('voice', 'chat_session_form_show', { event: 'chat_session_form_show', form_request_id: 1, form_name: 'Address' });
      await page.locator('.message[data-kind=form]').waitFor();
      await page.locator('.message[data-state=withdrawn]').waitFor();
      const views = width === 'narrow' ? ['Chat', 'Stream', 'Events'] : [undefined];
      for (const view of views) {
        if (view) await page.getByRole('navigation').getByRole('button', { name: view }).click();
        assert.deepEqual(await on.barriers(), []);
        assert.equal(await on.isTooWide(), false, view);
      }
      void said;
    });
  }
}

on('nothing is wider than a small telephone', { viewport: { width: 320, height: 568 }, fragment: '' }, async ({ page, ...on }) => {
  for (const phase of ['Not connected', 'Connected']) {
    if (phase === 'Connected') {
      await page.goto(`${page.url()}#${WHO}`);
      await page.reload();
      await on.connected();
    }
    for (const view of ['Chat', 'Stream', 'Events']) {
      await page.getByRole('navigation').getByRole('button', { name: view }).click();
      const right = await page.evaluate(() => Math.max(...[...document.querySelectorAll('header > *, nav > *, main > *')].map((one) => one.getBoundingClientRect().right)));
      assert.ok(right <= 320, `${phase}, ${view}: ${right}`);
      assert.equal(await on.isTooWide(), false, `${phase}, ${view}`);
    }
    await page.getByRole('navigation').getByRole('button', { name: 'Chat' }).click();
  }
});

on('a source that is away shows, and that it is back', {}, async ({ page, said, ...on }) => {
  await on.connected();
  await act('away', { source: 'care' });
  await page.locator('.source[data-source=care][data-state=down]').waitFor();
  await page.locator('.break', { hasText: 'care is away' }).waitFor();
  await act('back', { source: 'care' });
  await page.locator('.source[data-source=care][data-state=up]').waitFor();
  await page.locator('.break', { hasText: 'care is back' }).waitFor();
  await step('care', 'says', 'here again');
  await said('here again').waitFor();
});

on('a gap shows', {}, async ({ page, ...on }) => {
  await on.connected();
  await act('reset', { source: 'agent' });
  await page.locator('.break.tone-error', { hasText: 'Events of agent may be missing' }).filter({ hasText: 'upstream_no_replay' }).waitFor();
  await on.figure('Gaps', 1);
});
