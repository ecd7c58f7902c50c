// The page: puts what comes into the model, and the model on the page, once a frame.

import { chatView } from './chat.mjs';
import { composer } from './composer.mjs';
import { connection, streamUrl } from './connection.mjs';
import { el, say } from './dom.mjs';
import { explain } from './explain.mjs';
import { eventLog } from './log.mjs';
import { selfTest } from './selftest.mjs';
import { settings as settingsOf } from './settings.mjs';
import { showFigures, showSources } from './sources.mjs';
import { happen, initial, isSilent, onEvent } from './state.mjs';

/** Clocks and time-outs are looked at so often. */
const TICK_MS = 1000;
/** Before a browser that has given up is helped, although nothing speaks against the stream. */
const AGAIN_MS = 2000;

const PHASES = {
  idle: 'Not connected', connecting: 'Connecting…', open: 'Connected', retrying: 'Reconnecting…',
  cut: 'Cut', over: 'Over for good', refused: 'Refused',
};

const find = (selector) => document.querySelector(selector);

async function start() {
  const conf = await (await fetch('config.json')).json();
  const order = (name) => Math.max(0, conf.sources.findIndex((source) => source.name === name));
  let model = initial();
  let isDue = false;

  const draw = () => {
    isDue = false;
    render();
  };
  function set(next) {
    model = next;
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(draw);
  }

  const log = eventLog(find('#events'), order);
  const own = (name, text = '') => log.add({ at: Date.now(), name, kind: 'page', id: '', text, source: undefined });
  const settings = settingsOf(find('#settings'), conf, () => {
    if (model.phase === 'open' || model.phase === 'retrying') resume();
  });
  const routeSources = () => settings.route()?.sources ?? [];

  const stream = connection({
    messageTypes: conf.messageTypes,
    controlEvents: conf.controlEvents,
    onEvent({ name, id, text }) {
      const at = Date.now();
      const data = JSON.parse(text);
      const kind = conf.messageTypes.includes(name) ? 'message' : 'control';
      log.add({ at, name, kind, id, text, source: data.source?.name });
      set(onEvent(model, { name, id, data, at, types: conf.messageTypes }));
      if (name === 'refused') stream.close();
      if (name === 'connected') find('#identity').open = false;
    },
    onChange: (kind) => CHANGES[kind](),
  });

  const CHANGES = {
    opening() {
      own('(opening)', stream.cursor() ? `after ${stream.cursor()}` : 'from now on');
      set(happen(model, { kind: 'opening', at: Date.now(), heartbeatSeconds: settings.heartbeatSeconds() }));
    },
    lost() {
      const isFirst = model.phase === 'connecting';
      own('(lost)', 'the browser comes back by itself');
      set(happen(model, { kind: 'lost' }));
      if (isFirst) tellWhy(false);
    },
    gone() {
      own('(gone)', 'the browser does not come back');
      tellWhy(true);
    },
  };

  /** Asks why, since EventSource does not know. */
  async function tellWhy(isFinal) {
    if (model.phase === 'refused') return;
    const why = await explain(streamUrl(settings.read(), stream.cursor()), location.origin);
    if (why === undefined) {
      if (isFinal) setTimeout(() => model.phase !== 'idle' && model.phase !== 'cut' && resume(), AGAIN_MS);
      return;
    }
    if (isFinal) stream.close();
    set(happen(model, why.status === 204 ? { kind: 'over' } : { kind: 'problem', problem: why, isFinal }));
  }

  function open() {
    if (!find('#settings').reportValidity()) return;
    const sources = conf.sources.filter((source) => routeSources().includes(source.name));
    log.sources(sources.map((source) => source.name));
    set(initial(sources));
    stream.open(settings.read());
  }
  const resume = () => stream.resume(settings.read());

  const ACTIONS = {
    connect: open,
    disconnect() {
      stream.close();
      own('(closed)');
      set(happen(model, { kind: 'closed' }));
    },
    cut() {
      stream.close();
      own('(cut)', `at ${stream.cursor() || 'the beginning'}`);
      set(happen(model, { kind: 'cut' }));
    },
    resume,
    async selftest() {
      if (!find('#settings').reportValidity()) return;
      const button = find('[data-action=selftest]');
      const result = find('#selftest');
      button.disabled = true;
      result.replaceChildren(el('p', {}, 'Asking…'));
      const onBegin = (takesMs) => result.replaceChildren(el('p', {}, `Listening for ${Math.ceil(takesMs / 1000)} s…`));
      const found = await selfTest(settings.read(), onBegin);
      const words = found.length > 0 ? found : ['Nothing between buffers, compresses or cuts.'];
      result.replaceChildren(...words.map((word) => el('p', { 'data-tone': found.length > 0 ? 'error' : 'good' }, word)));
      button.disabled = false;
    },
    again: () => (model.stream.opens > 0 ? resume() : open()),
  };
  document.addEventListener('click', (event) => {
    const action = event.target.closest('[data-action]')?.dataset.action;
    if (action) ACTIONS[action]();
    const view = event.target.closest('nav [data-view]')?.dataset.view;
    if (view) showView(view);
  });
  find('#settings').addEventListener('submit', (event) => {
    event.preventDefault();
    open();
  });

  const chat = chatView(find('#chat'), { order, settings: settings.read });
  const write = composer(find('#composer'), { conf, routeSources, settings: settings.read, happen: (what) => set(happen(model, what)) });

  function render() {
    const now = Date.now();
    const phase = find('#phase');
    say(phase, PHASES[model.phase]);
    document.body.dataset.phase = model.phase;
    chat.show(model);
    write.show(model);
    showSources(find('#sources'), model, order, now);
    showFigures(find('#figures'), model, now);
    showProblem(model.problem);
    const isOn = ['open', 'connecting', 'retrying'].includes(model.phase);
    find('[data-action=disconnect]').disabled = !isOn && model.phase !== 'cut';
    find('[data-action=cut]').disabled = model.phase !== 'open';
    find('[data-action=resume]').disabled = model.phase !== 'cut';
    say(find('#connect'), isOn ? 'Connect anew' : 'Connect');
  }

  setInterval(() => {
    const at = Date.now();
    if (isSilent(model, at)) {
      own('(silent)', 'no sign of life, so a new connection is opened');
      resume();
    }
    set(happen(model, { kind: 'tick', at }));
  }, TICK_MS);
  // Some browsers do not restore a page at once that left with a connection open.
  addEventListener('pagehide', () => stream.close());
  addEventListener('pageshow', (event) => {
    if (event.persisted && model.phase === 'open') resume();
  });

  render();
  if (settings.isLinked && settings.isComplete()) open();
}

function showProblem(problem) {
  const box = find('#problem');
  const words = problem === undefined ? '' : `${problem.title}: ${problem.advice}`;
  if (box.dataset.words === words) return;
  box.dataset.words = words;
  if (problem === undefined) {
    box.replaceChildren();
    return;
  }
  const again = el('button', { type: 'button', 'data-action': 'again' }, 'Try again');
  box.replaceChildren(el('div', { class: 'problem' }, el('strong', {}, problem.title), el('p', {}, problem.advice), again));
}

/** On narrow screens one part of the page is shown at a time. */
function showView(view) {
  document.body.dataset.view = view;
  for (const button of document.querySelectorAll('nav [data-view]')) {
    button.setAttribute('aria-pressed', String(button.dataset.view === view));
  }
}

start();
