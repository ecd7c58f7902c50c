// Writing: where to, what, and that somebody types. The echo on the stream says that it arrived.

import { el } from './dom.mjs';
import { call, wayTo } from './send.mjs';
import { conversations } from './state.mjs';

/** Without a key for so long nobody types any more. */
const STILL_MS = 3000;

/** Where a message can go, by what was heard and what the conf passes. Pure. */
export function targets(model, conf, routeSources) {
  const heard = conversations(model);
  return conf.sources
    .filter((source) => routeSources.includes(source.name))
    .flatMap((source) => {
      const way = wayTo(source, conf.proxy);
      if (way === undefined) return [];
      const known = heard.filter((one) => one.source === source.name);
      if (known.length === 0) {
        return [{ source: source.name, way, isReady: !way.recipe.needsConversation, words: way.recipe.needsConversation ? `${source.name}: nobody has written yet` : source.name }];
      }
      const named = (one) => (one.name ? `${source.name}: ${one.name}` : source.name);
      return known.reverse().map((one) => ({ source: source.name, way, isReady: true, conversation: one.conversation, words: named(one) }));
    });
}

/** The form below `form`. `happen` takes what becomes of a message. */
export function composer(form, { conf, routeSources, settings, happen }) {
  const select = form.elements.namedItem('to');
  const field = form.elements.namedItem('text');
  const button = form.querySelector('button');
  const hint = form.querySelector('#composer-hint');
  let choices = [];
  let written = 0;
  let still;

  const chosen = () => choices.find((one) => keyOf(one) === select.value);
  const keyOf = (one) => JSON.stringify([one.source, one.conversation ?? '']);

  function show(model) {
    const isOpen = model.phase === 'open';
    const now = targets(model, conf, routeSources());
    const isSame = now.length === choices.length && now.every((one, at) => keyOf(one) === keyOf(choices[at]) && one.words === choices[at].words);
    choices = now;
    if (!isSame) {
      const before = select.value;
      const source = before && JSON.parse(before)[0];
      select.replaceChildren(...now.map((one) => el('option', { value: keyOf(one), disabled: !one.isReady }, one.words)));
      // Somebody's first words give a conversation to what was chosen by its source alone.
      const ready = now.filter((one) => one.isReady);
      const usual = ready.find((one) => keyOf(one) === before) ?? ready.find((one) => one.source === source) ?? ready[0];
      if (usual) select.value = keyOf(usual);
    }
    button.disabled = !isOpen || !chosen()?.isReady;
    const without = now.length === 0 ? 'The conf passes no calls to these sources (proxy:).' : 'Wait until somebody has written.';
    hint.textContent = !isOpen ? 'Connect first.' : chosen()?.isReady ? 'Enter sends, Shift and Enter makes a new line.' : without;
  }

  async function tellTyping(isTyping) {
    const to = chosen();
    if (!to?.isReady || !to.way.recipe.typing) return;
    // That it fails is no matter: the next key tells again.
    await call(to.way.recipe.typing({ ...to, id: crypto.randomUUID(), isTyping }), to.way.proxy, settings());
  }

  field.addEventListener('input', () => {
    if (still === undefined && field.value !== '') tellTyping(true);
    clearTimeout(still);
    still = setTimeout(() => {
      still = undefined;
      tellTyping(false);
    }, STILL_MS);
  });
  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const to = chosen();
    const text = field.value.trim();
    if (!to?.isReady || button.disabled || text === '') return;
    clearTimeout(still);
    still = undefined;
    field.value = '';
    const { recipe, proxy } = to.way;
    // Bright Pattern's clients count; a number that grows over reloads does not come twice.
    written += 1;
    const id = to.way.recipe.echoId ? String(Date.now() * 1000 + written) : crypto.randomUUID();
    const known = { conversation: to.conversation, id };
    const own = { source: to.source, conversation: to.conversation, id: recipe.echoId?.(known) ?? id };
    happen({ kind: 'sending', ...own, text, time: new Date().toISOString() });
    const error = await call(recipe.message({ ...known, text }), proxy, settings());
    happen({ kind: 'sent', ...own, error, echoes: recipe.echoes });
  });
  return { show };
}
