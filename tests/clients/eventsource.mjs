// npm `eventsource` in Node.

import { connector, hear, serve, tell } from './protocol.mjs';

// example
import { EventSource } from 'eventsource';

// `connect` gives URL and headers. It is asked before each connection, by itself or not: the last
// token may be over, the last ticket is used up.
function listen(connect, names, react, over) {
  const stream = new EventSource('http://localhost', {
    fetch: async (_, init) => {
      const { url, headers } = await connect();
      return fetch(url, { ...init, headers: { ...init.headers, ...headers } });
    },
  });
  for (const name of names) stream.addEventListener(name, react);
  stream.onerror = (error) => {
    // With 0 it comes back by itself.
    if (stream.readyState === EventSource.CLOSED) over(error.code);
  };
}
// end of the example

function alone(job, react, over) {
  const headers = { ...job.headers };
  const stream = new EventSource(job.url, {
    fetch: (input, init) =>
      fetch(input, { ...init, method: job.method, headers: { ...init.headers, ...headers } }),
  });
  for (const name of job.names) stream.addEventListener(name, react);
  stream.onmessage = react;
  stream.onerror = () => stream.readyState === EventSource.CLOSED && over();
}

serve((job) => {
  const react = (event) => hear(job.job, event);
  const over = () => tell(job.job, 'over', { why: 'gives up' });
  if (job.stay) listen(connector(job), job.names, react, over);
  else alone(job, react, over);
});
