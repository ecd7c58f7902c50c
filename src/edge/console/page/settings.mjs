// The form of the connection: filled from the conf, the page's fragment and this tab's session.
// The credential stays in this tab (sessionStorage) and is never put into the page's address.

import { el } from './dom.mjs';

const KEY = 'chatmux-console';
/** What a link to this page may bring along. Not the address: nobody shall send keys elsewhere. */
const FROM_LINK = ['tenantId', 'workflow', 'participantId', 'heartbeatSeconds', 'vocabulary'];

const TEXTS = ['base', 'tenantId', 'workflow', 'participantId', 'credential', 'vocabulary', 'heartbeatSeconds'];

/** Listeners as this page may call them: one that is bound to all addresses has the page's host. */
export function listenUrls(listen, host) {
  return listen.map((url) => url.replace(/\/\/(0\.0\.0\.0|\[::\]):/, () => `//${host}:`));
}

/** What a fragment says: fields, and whether it brings a credential. Pure. */
export function fromFragment(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ''));
  const fields = Object.fromEntries(FROM_LINK.filter((name) => given.has(name)).map((name) => [name, given.get(name)]));
  const credential = given.get('access_token') ?? given.get('apikey');
  return credential ? { ...fields, credential } : fields;
}

const kept = () => {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
};

/** The form, and what it says. `onApply` is called when an option changes that a stream is opened with. */
export function settings(form, conf, onApply) {
  const field = (name) => form.elements.namedItem(name);
  const bases = listenUrls(conf.listen, location.hostname);
  form.querySelector('#bases').append(...bases.map((url) => el('option', { value: url })));
  field('route').append(...conf.routes.map((route, index) => el('option', { value: index }, words(route))));
  form.querySelector('#types').append(...conf.messageTypes.map(typeBox));

  const linked = fromFragment(location.hash);
  // What was typed into the address bar goes from there, and from the history.
  if (location.hash) history.replaceState(null, '', location.pathname);
  const fields = { base: bases[0] ?? '', ...kept(), ...linked };
  for (const name of TEXTS) {
    if (typeof fields[name] === 'string') field(name).value = fields[name];
  }
  if (conf.routes[fields.route]) field('route').value = fields.route;
  for (const box of form.querySelectorAll('#types input')) box.checked = fields.types?.includes(box.value) ?? false;

  const route = () => conf.routes[Number(field('route').value)];
  function hint() {
    field('tenantId').placeholder = route()?.tenant ?? '';
    field('workflow').placeholder = route()?.workflow ?? '';
    field('heartbeatSeconds').placeholder = route()?.heartbeatSeconds ?? '';
  }
  hint();

  function read() {
    const texts = Object.fromEntries(TEXTS.map((name) => [name, field(name).value.trim()]));
    const types = [...form.querySelectorAll('#types input:checked')].map((box) => box.value);
    sessionStorage.setItem(KEY, JSON.stringify({ ...texts, types, route: field('route').value }));
    return { ...texts, types, path: route()?.path ?? '/', errorsEvent: route()?.errorsEvent ?? false };
  }

  form.addEventListener('change', (event) => {
    hint();
    read();
    if (event.target.closest('[data-live]')) onApply();
  });
  form.querySelector('#all-types').addEventListener('click', () => {
    for (const box of form.querySelectorAll('#types input')) box.checked = false;
    onApply();
  });
  return {
    read,
    route,
    /** Seconds between heartbeats, as asked for or as the route has them. */
    heartbeatSeconds: () => Number(field('heartbeatSeconds').value) || (route()?.heartbeatSeconds ?? 5),
    isComplete: () => form.checkValidity(),
    /** Whether a link brought all that is needed. */
    isLinked: linked.credential !== undefined,
  };
}

function words(route) {
  const match = [route.tenant, route.workflow].filter(Boolean).join(', ');
  return match ? `${route.path} (${match})` : route.path;
}

const typeBox = (name) => el('label', { class: 'choice' }, el('input', { type: 'checkbox', value: name }), name);
