// `@microsoft/fetch-event-source`, in the browser for which it is made.

// example
import { fetchEventSource } from '@microsoft/fetch-event-source';

class Over extends Error {}

// `connect` gives URL and headers, anew for each connection.
async function follow(connect, withCookie, react) {
  let cursor = '';
  await fetchEventSource('', {
    openWhenHidden: true,
    credentials: withCookie ? 'include' : 'same-origin',
    fetch: async (_, init) => {
      const { url, headers } = await connect();
      const all = new Headers({ ...init.headers, ...headers });
      // The library takes the cursor of an event that was cut in its last bytes. Ours is that of
      // the last one that was whole.
      all.delete('Last-Event-ID');
      if (cursor) all.set('Last-Event-ID', cursor);
      return fetch(url, { ...init, headers: all });
    },
    onopen: async (answer) => {
      if (answer.status === 200) return;
      // 204: over for good. 429 and 503: later. Everything else has to be mended first.
      if (answer.status === 429 || answer.status === 503) throw new Error('later');
      throw new Over(`${answer.status}`);
    },
    onmessage: ({ event, id, data }) => {
      react(event, id, data);
      cursor = id || cursor;
    },
    onclose: () => {
      throw new Error('come back');
    },
    onerror: (error) => {
      if (error instanceof Over) throw error;
      // Nothing given back: it waits as `retry:` says.
    },
  });
}
// end of the example

// By itself, without handlers.
function alone({ url, method, headers }, react) {
  const onmessage = ({ event, id, data }) => react(event || 'message', id, data);
  return fetchEventSource(url, { method, headers, openWhenHidden: true, onmessage });
}

export { alone, follow };
