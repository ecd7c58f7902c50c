// The conversation: items of the timeline as elements, each made anew only when it has changed.

import { el, link, safeUrl, say, shown, timeOf } from './dom.mjs';
import { credentialHeaders } from './connection.mjs';
import { clock, explained } from './words.mjs';

const PROGRESS = { sending: 'Sending…', sent: 'Sent', delivered: 'Delivered', read: 'Read', failed: 'Not sent' };
const INVALID = {};
/** So near to its end the conversation follows what comes. */
const NEAR_END_PX = 80;

const initials = (name) => [...name].filter((one) => /\p{L}|\p{N}/u.test(one)).slice(0, 1).join('').toUpperCase() || '·';

function heading(item) {
  return el(
    'header',
    { class: 'who' },
    el('span', { class: 'name' }, item.name),
    item.role && !item.isOwn && el('span', { class: 'role' }, item.role),
    el('span', { class: 'of-source' }, item.source),
    timeOf(item.time, clock(item.time)),
  );
}

function bubble(item, context, ...inside) {
  const side = item.isOwn ? 'mine' : 'theirs';
  return el(
    'article',
    { class: `message ${side} source-${context.order(item.source) % 6}`, 'data-kind': item.kind, 'data-source': item.source, 'data-progress': item.progress },
    el('span', { class: 'avatar', 'aria-hidden': 'true' }, initials(item.name)),
    el('div', { class: 'bubble' }, heading(item), ...inside),
  );
}

const details = (title, value) =>
  value !== undefined && value !== null && el('details', { class: 'more' }, el('summary', {}, title), el('pre', { tabindex: 0, 'aria-label': title }, shown(value)));

function choice(one) {
  const words = one.title ?? one.id ?? '';
  return el('li', { class: 'option' }, String(words), one.description && el('span', { class: 'option-more' }, String(one.description)));
}

const RENDER = {
  message(item, context) {
    const answered = item.inReplyTo && context.textOf(item);
    return bubble(
      item,
      context,
      item.subject && el('p', { class: 'subject' }, String(item.subject)),
      answered && el('blockquote', { class: 'quote' }, answered),
      el('p', { class: 'text' }, item.text),
      item.choices.length > 0 && el('ul', { class: 'options', 'aria-label': 'Choices' }, ...item.choices.map(choice)),
      item.links.length > 0 && el('ul', { class: 'links', 'aria-label': 'Links' }, ...item.links.map((one) => el('li', {}, link(one.url, String(one.title ?? one.url))))),
      details('Data', item.payload),
      footer(item),
    );
  },
  stream(item, context) {
    const words = {
      writing: item.isChecked ? 'checked' : 'is being written…',
      withdrawn: `Withdrawn: the answer did not pass its check${item.reason ? ` (${explained(INVALID, item.reason)})` : ''}`,
    };
    const element = bubble(
      item,
      context,
      item.text !== '' && el('p', { class: 'text' }, item.text),
      el('p', { class: 'progress' }, words[item.state]),
    );
    element.dataset.state = item.state;
    // Readers are told the whole when it is there, not each piece.
    element.setAttribute('aria-busy', String(item.state === 'writing'));
    return element;
  },
  file(item, context) {
    return bubble(
      item,
      context,
      item.text !== '' && el('p', { class: 'text' }, item.text),
      el('ul', { class: 'files', 'aria-label': 'Files' }, ...item.files.map((file) => el('li', { class: 'file' }, ...fileParts(file, context)))),
    );
  },
  form(item, context) {
    const title = item.title ?? 'A question in free text';
    return bubble(
      item,
      context,
      el('p', { class: 'form-title' }, String(title), item.isSecure && el('span', { class: 'role' }, 'secure')),
      item.text !== '' && el('p', { class: 'text' }, item.text),
      el('p', { class: 'progress' }, [item.formId && `Form ${item.formId}`, item.timeoutSeconds && `to be filled in within ${item.timeoutSeconds} s`].filter(Boolean).join(', ')),
      details('Fields', item.fields),
    );
  },
  note(item, context) {
    return el(
      'div',
      { class: `note tone-${item.tone} source-${context.order(item.source) % 6}`, 'data-kind': 'note', 'data-type': item.type, 'data-source': item.source },
      el('span', { class: 'dot', 'aria-hidden': 'true' }),
      el('span', { class: 'note-title' }, item.title),
      item.more && el('span', { class: 'note-more' }, item.more),
      item.url && link(item.url, 'open'),
      el('span', { class: 'note-source' }, item.source),
      timeOf(item.time, clock(item.time)),
      details('Data', item.detail),
    );
  },
  break(item) {
    return el('div', { class: `break tone-${item.tone}`, 'data-kind': 'break' }, el('span', { class: 'note-title' }, item.title), item.more && el('span', { class: 'note-more' }, item.more));
  },
};

function footer(item) {
  const marks = [
    item.isEdited && 'edited',
    item.isDelayed && 'said earlier',
    item.isMarkdown && 'markdown',
    item.wasStreamed && 'streamed',
    item.error ? `${PROGRESS.failed}: ${item.error}` : PROGRESS[item.progress],
  ].filter(Boolean);
  return marks.length > 0 && el('p', { class: 'progress' }, marks.join(' · '));
}

/** A file of the edge needs the credential, so it is fetched; one of the web is a link. */
function fileParts(file, context) {
  const name = String(file.name ?? file.id ?? 'file');
  const about = [file.kind, file.mediaType].filter((word) => typeof word === 'string').join(', ');
  const isOurs = typeof file.url === 'string' && /^\/(?!\/)/.test(file.url);
  let way = el('span', { class: 'no-link' }, name);
  if (isOurs && safeUrl(file.url, context.settings().base)) {
    way = el('button', { type: 'button', class: 'link', onclick: (event) => download(event.target, file.url, name, context) }, name);
  } else if (file.url !== undefined && !isOurs) {
    way = link(file.url, name);
  }
  return [way, el('span', { class: 'file-kind' }, file.url === undefined ? `${about}, not to be had from here` : about)];
}

async function download(button, path, name, context) {
  const { base, credential } = context.settings();
  const answer = await fetch(new URL(path, base), { headers: credentialHeaders(credential) }).catch(() => undefined);
  if (!answer?.ok) {
    button.after(el('span', { class: 'file-kind', role: 'status' }, ` could not be fetched (${answer?.status ?? 'no answer'})`));
    return;
  }
  const url = URL.createObjectURL(await answer.blob());
  el('a', { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}

/** The conversation below `root`. */
export function chatView(root, { order, settings }) {
  const list = root.querySelector('#timeline');
  const newest = root.querySelector('#newest');
  const typing = root.querySelector('#typing');
  let rendered = new Map();
  let texts = new Map();
  let shownItems;

  // Whoever has scrolled up reads there; everybody else is shown what comes.
  let isFollowed = true;
  const toEnd = () => list.scrollTo({ top: list.scrollHeight });
  list.addEventListener('scroll', () => {
    if (list.clientHeight === 0) return;
    isFollowed = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_END_PX;
    newest.hidden = isFollowed;
  });
  newest.addEventListener('click', toEnd);
  // It may have been hidden while more came.
  new ResizeObserver(() => isFollowed && toEnd()).observe(list);

  const context = {
    order,
    settings,
    textOf: (item) => texts.get(JSON.stringify([item.source, item.conversation ?? '', item.inReplyTo])),
  };

  /** Changes what has changed, in place: what stands there is not told again. */
  function show(items) {
    if (items === shownItems) return;
    shownItems = items;
    texts = new Map(items.map((item) => [item.key, item.text]));
    const before = rendered;
    rendered = new Map();
    let place = list.firstElementChild;
    for (const item of items) {
      const id = `${item.kind === 'message' || item.kind === 'stream' ? 'said' : item.kind}:${item.key}`;
      const known = before.get(id);
      let element = known?.element;
      if (known?.item !== item) {
        element = RENDER[item.kind](item, context);
        if (known) {
          if (place === known.element) place = element;
          known.element.replaceWith(element);
        }
      }
      if (element === place) place = place.nextElementSibling;
      else list.insertBefore(element, place);
      rendered.set(id, { item, element });
      before.delete(id);
    }
    for (const { element } of before.values()) element.remove();
    root.querySelector('#nothing').hidden = items.length > 0;
    if (isFollowed) toEnd();
  }

  return {
    show(model) {
      show(model.timeline.items);
      const { cut } = model.timeline;
      say(root.querySelector('#earlier'), cut === 0 ? '' : `${cut} earlier left out`);
      const names = [...new Set(model.typing.map((one) => one.name))];
      const words = names.length === 0 ? '' : `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} typing…`;
      say(typing, words);
      typing.dataset.on = String(names.length > 0);
    },
  };
}
