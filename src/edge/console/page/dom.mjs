// Elements by hand. Whatever comes from a stream becomes a text node or a checked address, never
// markup.

/** An element. Of its properties those that begin with `on` are listeners, `false` and `undefined` are left out. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.filter((child) => child !== undefined && child !== false && child !== ''));
  return element;
}

/** Puts text into an element if it is another one: live regions tell each change. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** An address that a browser may open; `undefined` for scripts, data and everything that is no web address. */
export function safeUrl(text, base) {
  if (typeof text !== 'string') return undefined;
  try {
    const url = new URL(text, base);
    return url.protocol === 'https:' || url.protocol === 'http:' ? url : undefined;
  } catch {
    return undefined;
  }
}

/** A link to another site, or its text where it is none. */
export function link(address, words) {
  const url = safeUrl(address);
  if (url === undefined) return el('span', { class: 'no-link' }, words);
  return el('a', { href: url.href, target: '_blank', rel: 'noopener noreferrer' }, words);
}

/** Anything as text that can be read; long things are cut. */
export function shown(value, most = 4000) {
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** A time as people read it, exact for machines. */
export function timeOf(time, words) {
  return el('time', { datetime: time }, words);
}
