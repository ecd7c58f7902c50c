// The raw event log: every event as it came, with filters by name, source and text.

import { el, say, shown } from './dom.mjs';

/** Rows that are kept; the oldest go first. */
export const ROWS_MAX = 500;
/** Characters of an event that its row shows before it is opened. */
const PREVIEW = 160;

/** Whether an entry passes. Pure. */
export function passes(entry, { hidden, source, words }) {
  if (hidden.has(entry.name)) return false;
  if (source && entry.source !== source) return false;
  return !words || `${entry.name} ${entry.text}`.toLowerCase().includes(words.toLowerCase());
}

/** What an event says, in short. Pure. */
export function gist({ text, kind }) {
  if (kind === 'page') return text;
  const { text: words, data, timestamp, ...rest } = JSON.parse(text);
  if (typeof words === 'string' && words !== '') return words.slice(0, PREVIEW);
  return JSON.stringify(kind === 'message' ? data ?? {} : rest).slice(0, PREVIEW);
}

/** The lines of an event as they came, but for the data's own line. */
export function raw({ name, id, text }) {
  return [`event: ${name}`, id && `id: ${id}`, `data: ${text}`].filter(Boolean).join('\n');
}

function pretty(text) {
  try {
    return shown(JSON.parse(text));
  } catch {
    return text;
  }
}

/** The log below `root`. `order` gives a source's colour. */
export function eventLog(root, order) {
  const find = (selector) => root.querySelector(selector);
  const rows = find('#rows');
  const chips = find('#names');
  let entries = [];
  let waiting = [];
  const counts = new Map();
  const filter = { hidden: new Set(['heartbeat']), source: '', words: '' };
  let isPaused = false;

  function row(entry) {
    const time = new Date(entry.at).toISOString().slice(11, 23);
    const colour = entry.source ? `source-${order(entry.source) % 6}` : '';
    const summary = el(
      'summary',
      {},
      el('span', { class: 'row-time' }, time),
      el('span', { class: `row-name kind-${entry.kind} ${colour}` }, entry.name),
      el('span', { class: 'row-data' }, gist(entry)),
    );
    const details = el('details', { class: 'row', 'data-name': entry.name }, summary);
    details.addEventListener('toggle', () => {
      // Made only when it is looked at.
      if (details.open && details.children.length === 1) {
        details.append(el('pre', { tabindex: 0, 'aria-label': `${entry.name}, as it came` }, raw(entry)), el('pre', { tabindex: 0, 'aria-label': `${entry.name}, formatted` }, pretty(entry.text)));
      }
    });
    return details;
  }

  function count() {
    const some = entries.filter((entry) => passes(entry, filter)).length;
    say(find('#shown'), `${some} of ${entries.length} shown${waiting.length > 0 ? `, ${waiting.length} wait` : ''}`);
  }

  function chip(name) {
    const button = el('button', { type: 'button', class: 'chip', 'data-name': name }, el('span', {}, name), el('span', { class: 'count' }, '0'));
    button.setAttribute('aria-pressed', String(!filter.hidden.has(name)));
    button.addEventListener('click', () => {
      if (!filter.hidden.delete(name)) filter.hidden.add(name);
      button.setAttribute('aria-pressed', String(!filter.hidden.has(name)));
      refresh();
    });
    chips.append(button);
    return button;
  }

  function refresh() {
    rows.replaceChildren(...entries.filter((entry) => passes(entry, filter)).reverse().map(row));
    count();
  }

  function put(entry) {
    entries.push(entry);
    if (passes(entry, filter)) rows.prepend(row(entry));
    if (entries.length > ROWS_MAX) {
      const gone = entries.shift();
      if (passes(gone, filter)) rows.lastElementChild?.remove();
    }
  }

  function flush() {
    waiting.forEach(put);
    waiting = [];
    count();
  }

  find('#words').addEventListener('input', (event) => {
    filter.words = event.target.value;
    refresh();
  });
  find('#of-source').addEventListener('change', (event) => {
    filter.source = event.target.value;
    refresh();
  });
  find('#pause').addEventListener('click', (event) => {
    isPaused = !isPaused;
    event.target.setAttribute('aria-pressed', String(isPaused));
    if (!isPaused) flush();
  });
  find('#clear').addEventListener('click', () => {
    entries = [];
    waiting = [];
    refresh();
  });

  return {
    /** One event, or what happened to the connection. */
    add(entry) {
      const known = counts.get(entry.name) ?? { count: 0, button: chip(entry.name) };
      counts.set(entry.name, { ...known, count: known.count + 1 });
      say(known.button.lastChild, String(known.count + 1));
      if (isPaused) waiting = [...waiting, entry].slice(-ROWS_MAX);
      else put(entry);
      count();
    },
    /** The sources that can be chosen. */
    sources(names) {
      find('#of-source').replaceChildren(el('option', { value: '' }, 'all sources'), ...names.map((name) => el('option', { value: name }, name)));
    },
  };
}
