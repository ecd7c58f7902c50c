// `eventsource-parser` behind Node's fetch.

import { connector, hear, serve, tell } from './protocol.mjs';

// example
import { setTimeout as sleep } from 'node:timers/promises';
import { EventSourceParserStream } from 'eventsource-parser/stream';

// `connect` gives URL and headers, anew for each connection. Ends when the stream is over for good.
async function follow(connect, onEvent) {
  let cursor = '';
  let retry = 3000;
  for (;;) {
    const { url, headers } = await connect();
    if (cursor) headers['Last-Event-ID'] = cursor;
    const answer = await fetch(url, { headers }).catch(() => null);
    if (answer?.status === 204) return;
    if (answer?.ok) {
      const events = answer.body
        .pipeThrough(new TextDecoderStream())
        .pipeThrough(new EventSourceParserStream({ onRetry: (millis) => (retry = millis) }));
      try {
        for await (const event of events) {
          onEvent(event);
          if (event.id) cursor = event.id;
        }
      } catch {
        // Cut: an unfinished event is not told.
      }
    } else if (answer) {
      const wait = Number(answer.headers.get('Retry-After'));
      if (!wait) throw new Error(`${answer.status}: ${(await answer.json()).message}`);
      retry = wait * 1000;
    }
    await sleep(retry);
  }
}
// end of the example

async function alone(job, react) {
  const { job: name, url, method, headers } = job;
  const answer = await fetch(url, { method, headers });
  const onComment = () => tell(name, 'comment');
  const events = answer.body
    ?.pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream({ onComment }));
  for await (const event of events ?? []) react(event);
}

serve((job) => {
  const react = (event) => hear(job.job, event);
  const heard = job.stay ? follow(connector(job), react) : alone(job, react);
  heard.then(
    () => tell(job.job, 'over', { why: 'ends' }),
    (error) => tell(job.job, 'over', { why: `throws ${error.name}` }),
  );
});
