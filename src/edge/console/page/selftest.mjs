// Whether something between this page and chatmux buffers, compresses or cuts the stream: the
// route's own self-test is read, and what came when is judged.

import { streamUrl } from './connection.mjs';
import { ofAnswer } from './explain.mjs';

/** Shorter pauses may shrink on any network. */
const PAUSE_MS = 200;
/** Pauses of at least this length are silences: each that was kept says nothing of buffers. */
const SILENCE_MS = 900;

/** The URL of the self-test of a stream. */
export function selfTestUrl(settings) {
  const url = streamUrl(settings);
  url.pathname = `${url.pathname.replace(/\/$/, '')}/selftest`;
  for (const name of ['errors', 'types', 'vocabulary']) url.searchParams.delete(name);
  return url;
}

/** Splits what has come into whole events and the rest. Pure. */
export function split(text) {
  const blocks = text.split('\n\n');
  const rest = blocks.pop() ?? '';
  const field = (block, name) => block.split('\n').find((line) => line.startsWith(name))?.slice(name.length) ?? '';
  return [blocks.map((block) => ({ event: field(block, 'event: '), data: JSON.parse(field(block, 'data: ')) })), rest];
}

/**
 * What is wrong, in words; nothing if all is well. Pure.
 * `heard`: events with the time at which each came; `endedAt`: when the answer ended.
 */
export function judge(heard, endedAt, coding) {
  const found = [];
  const pairs = heard.slice(1).map((next, index) => ({ sent: next.data.sentMs - heard[index].data.sentMs, came: next.at - heard[index].at }));
  const paused = pairs.filter(({ sent }) => sent >= PAUSE_MS);
  const clumps = paused.filter(({ sent, came }) => came < sent / 4);
  const counted = paused.filter((pair) => pair.sent < SILENCE_MS || clumps.includes(pair));
  if (clumps.length >= 2 && clumps.length * 2 >= counted.length) {
    found.push('Something between buffers: events came in clumps. Turn buffering off for this path.');
  }
  if (coding && coding !== 'identity') found.push(`Something between compresses (${coding}). Turn compression off for text/event-stream.`);
  const last = heard.at(-1);
  if (last?.event !== 'end') {
    const silent = Math.round(endedAt - (last?.at ?? 0));
    const survived = Math.max(0, ...pairs.map(({ sent }) => sent));
    found.push(silent > survived ? `Something between cuts after ${silent} ms of silence. Ask for shorter heartbeats, or let it wait longer.` : `The stream was cut after ${Math.round(endedAt)} ms in all.`);
  } else if (last.data.reason !== 'done') {
    found.push(`chatmux ended the test early (${last.data.reason}).`);
  }
  return found;
}

/** Runs it; `onBegin` gets how many milliseconds it takes. Gives what was found. */
export async function selfTest(settings, onBegin) {
  const began = performance.now();
  const heard = [];
  const answer = await fetch(selfTestUrl(settings), { cache: 'no-store' }).catch(() => undefined);
  if (answer === undefined) return ['No answer.'];
  if (answer.status !== 200 || !answer.headers.get('Content-Type')?.startsWith('text/event-stream')) {
    const { title, advice } = ofAnswer(answer.status, await answer.json().catch(() => undefined));
    return [`${title}: ${advice}`];
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: true }));
    if (done) break;
    const [events, rest] = split(text + value);
    text = rest;
    for (const { event, data } of events) {
      heard.push({ at: performance.now() - began, event, data });
      if (event === 'begin') onBegin(data.takesMs);
    }
  }
  return judge(heard, performance.now() - began, answer.headers.get('Content-Encoding'));
}
