// The sources and the figures of the connection, as lists that are made anew when they change.

import { el, say } from './dom.mjs';
import { sourceState } from './state.mjs';
import { DOWN, clock, explained } from './words.mjs';

const STATES = { waiting: 'connecting', up: 'up', down: 'away', ended: 'ended', shut: 'not open' };

function stateWords(source, state, now) {
  const words = STATES[state];
  if (state !== 'down') return words;
  const wait = source.retryAt === undefined ? 0 : Math.ceil((source.retryAt - now) / 1000);
  const again = wait > 0 ? `, again in ${wait} s` : '';
  return `${words}: ${explained(DOWN, source.reason)}${again}`;
}

function heardWords({ events, lastTime }) {
  if (events === 0) return 'no events yet';
  return `${events} ${events === 1 ? 'event' : 'events'}, last ${clock(lastTime)}`;
}

function card(source, state, index, now) {
  const people = Object.values(source.people);
  const here = people.map((person) => (person.show && person.show !== 'online' ? `${person.name} (${person.show})` : person.name));
  return el(
    'li',
    { class: `source source-${index % 6}`, 'data-source': source.name, 'data-state': state },
    el('span', { class: 'dot', 'aria-hidden': 'true' }),
    el('span', { class: 'source-name' }, source.name),
    el('span', { class: 'source-backend' }, source.backend),
    el('span', { class: 'source-state' }, stateWords(source, state, now)),
    source.session && el('span', { class: 'source-more' }, `${source.session.title}${source.session.more ? ` · ${source.session.more}` : ''}`),
    here.length > 0 && el('span', { class: 'source-more' }, `Here: ${here.join(', ')}`),
    el('span', { class: 'source-more' }, heardWords(source)),
  );
}

/** What each list shows now: one that has not changed is left alone, for whoever is reading it. */
const known = new WeakMap();

/** Shows the sources. */
export function showSources(list, model, order, now) {
  const sources = Object.values(model.sources).map((source) => [source, sourceState(model, source)]);
  const words = JSON.stringify(sources.map(([source, state]) => [source, stateWords(source, state, now)]));
  if (known.get(list) === words) return;
  known.set(list, words);
  list.replaceChildren(...sources.map(([source, state]) => card(source, state, order(source.name), now)));
}

function ago(at, now) {
  if (at === undefined) return '–';
  const secs = Math.max(0, Math.round((now - at) / 1000));
  return secs === 0 ? 'now' : `${secs} s ago`;
}

/** Shows the figures of the connection. */
export function showFigures(list, model, now) {
  const { stream } = model;
  const resumed = { true: 'yes', false: 'no' }[stream.resumed] ?? '–';
  const figures = [
    ['Last sign of life', ago(stream.lastAt, now)],
    ['Heartbeats', stream.heartbeats],
    ['Listeners', stream.subscribers ?? '–'],
    ['Events', stream.events],
    ['Connections', stream.opens],
    ['Losses', stream.losses],
    ['Resumed', resumed],
    ['Replayed', stream.replayed],
    ['Duplicates', stream.duplicates],
    ['Gaps', stream.gaps],
    ['Cursor', stream.cursor || '–'],
  ];
  if (list.childElementCount === 0) {
    list.append(...figures.map(([name]) => el('div', { 'data-figure': name }, el('dt', {}, name), el('dd', {}))));
  }
  figures.forEach(([, value], index) => say(list.children[index].lastElementChild, String(value)));
}
