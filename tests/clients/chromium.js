// Chromium's own EventSource.

// By itself: with what the constructor takes, and what it does not.
export function listen({ url, method, headers, cookie, names }, react, over) {
  const stream = new EventSource(url, { withCredentials: Boolean(cookie), method, headers });
  const hear = (event) => react(event.type, event.lastEventId, event.data);
  for (const name of names) stream.addEventListener(name, hear);
  stream.onmessage = hear;
  stream.onerror = () => stream.readyState === EventSource.CLOSED && over('gives up');
}

// With a ticket: a new EventSource for each connection, which goes on after the cursor.
// example
function stay(connect, names, react, over) {
  let cursor = '';
  const open = async () => {
    const { url } = await connect();
    const stream = new EventSource(cursor ? `${url}&lastEventId=${cursor}` : url);
    const hear = (event) => {
      cursor = event.lastEventId || cursor;
      react(event.type, event.lastEventId, event.data);
    };
    for (const name of names) stream.addEventListener(name, hear);
    stream.onerror = () => {
      stream.close();
      setTimeout(() => open().catch(over), 2000 + 2000 * Math.random());
    };
  };
  open().catch(over);
}
// end of the example

export { stay };
