// How a message goes to each backend: its own call, through a `proxy:` path. Recipes are data and
// pure; `call` is the only thing that touches the network.

import { credentialHeaders, whoQuery } from './connection.mjs';

const segment = encodeURIComponent;
const json = (body) => ({ type: 'application/json', body: JSON.stringify(body) });

/**
 * By dialect: `echoes` (the stream tells of what was sent), `needsConversation` (it must be known
 * where to), `id` of the message for the backend, `echoId` as the stream will tell it, and the
 * calls, with paths below the source's `url`.
 */
export const RECIPES = {
  openfire: {
    echoes: true,
    needsConversation: true,
    message: ({ conversation, text }) => ({ path: `/api/rest/chat/message/${segment(conversation)}`, type: 'text/plain', body: text }),
    typing: ({ conversation, isTyping }) => ({ path: `/api/rest/chat/chatstate/${isTyping ? 'composing' : 'paused'}/${segment(conversation)}` }),
  },
  xians: {
    echoes: false,
    needsConversation: false,
    message: ({ id, text }) => ({ path: '/api/user/rest/send', query: { type: 'Chat', requestId: id, text }, ...json({}) }),
  },
  salesforce: {
    echoes: true,
    needsConversation: true,
    message: ({ conversation, id, text }) => ({
      path: `/iamessage/api/v2/conversation/${segment(conversation)}/message`,
      ...json({ message: { id, messageType: 'StaticContentMessage', staticContent: { formatType: 'Text', text } } }),
    }),
    typing: ({ conversation, id, isTyping }) => ({
      path: `/iamessage/api/v2/conversation/${segment(conversation)}/entry`,
      ...json({ entryType: isTyping ? 'TypingStartedIndicator' : 'TypingStoppedIndicator', id }),
    }),
  },
  brightpattern: {
    echoes: true,
    needsConversation: true,
    echoId: ({ conversation, id }) => `${conversation}:${id}`,
    message: ({ conversation, id, text }) => ({
      path: `/chats/${segment(conversation)}/events`,
      ...json({ events: [{ event: 'chat_session_message', msg_id: `${conversation}:${id}`, msg: text }] }),
    }),
    typing: ({ conversation, isTyping }) => ({
      path: `/chats/${segment(conversation)}/events`,
      ...json({ events: [{ event: isTyping ? 'chat_session_typing' : 'chat_session_not_typing' }] }),
    }),
  },
};

/** The path at the edge of a backend's path; `undefined` where the proxy leads elsewhere. */
export function pathThrough(proxy, path) {
  const to = proxy.to.replace(/\/$/, '');
  if (!path.startsWith(`${to}/`)) return undefined;
  return proxy.path.replace(/\/$/, '') + path.slice(to.length);
}

/** Where a message to this source can go, by what the conf passes; `undefined`: nowhere. */
export function wayTo(source, proxies) {
  const recipe = Object.hasOwn(RECIPES, source.backend) ? RECIPES[source.backend] : undefined;
  if (recipe === undefined) return undefined;
  const sample = recipe.message({ conversation: 'c', id: 'i', text: '' }).path;
  const proxy = proxies.find((one) => one.source === source.name && one.takesPost && pathThrough(one, sample) !== undefined);
  return proxy === undefined ? undefined : { recipe, proxy };
}

/** A request of a recipe, for fetch. Pure. */
export function request({ path, query, type, body }, proxy, settings) {
  const url = new URL(pathThrough(proxy, path), settings.base);
  url.search = new URLSearchParams([...new URLSearchParams(query ?? {}), ...whoQuery(settings)]);
  const headers = { ...credentialHeaders(settings.credential), ...(type ? { 'Content-Type': type } : {}) };
  return [url, { method: 'POST', headers, body }];
}

/** Sends; gives what went wrong, if anything. */
export async function call(made, proxy, settings) {
  const answer = await fetch(...request(made, proxy, settings)).catch(() => undefined);
  if (answer === undefined) return 'No answer: is the edge there, and may this page call it?';
  if (answer.ok) return undefined;
  const body = await answer.json().catch(() => undefined);
  return [answer.status, body?.message ?? body?.error ?? ''].join(' ').trim();
}
