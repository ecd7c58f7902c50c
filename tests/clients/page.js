// What the clients in the page speak: jobs are asked for, what is heard is posted. A job is as in
// protocol.mjs; `client` says for which client it is.

import { listen, stay } from './chromium.js';
import { alone, follow } from './fetch-event-source.js';

let lines = [];
let isSending = false;

async function send() {
  if (isSending) return;
  isSending = true;
  while (lines.length > 0) {
    const body = lines.join('\n');
    lines = [];
    await fetch('/report', { method: 'POST', body });
  }
  isSending = false;
}

// Where to connect and how to show who it is. Asked before each connection: a ticket is good once.
const connector = (job) => async () => {
  if (!job.ticket) return { url: job.url, headers: job.headers };
  const answer = await fetch(job.ticket.url, { method: 'POST', headers: job.ticket.headers });
  return { url: `${job.url}&ticket=${(await answer.json()).ticket}`, headers: job.headers };
};

function run(job) {
  const tell = (kind, more) => {
    lines.push(JSON.stringify({ client: job.client, job: job.job, kind, ...more }));
    send();
  };
  const react = (name, id, data) => tell('event', { name, id, data });
  const over = (why) => tell('over', { why });
  if (job.cookie) document.cookie = job.cookie;
  if (job.client === 'EventSource') {
    if (job.stay && job.ticket) stay(connector(job), job.names, react, over);
    else listen(job, react, over);
  } else if (job.stay) {
    follow(connector(job), Boolean(job.cookie), react).catch((error) => over(error.message));
  } else {
    alone(job, react).then(
      () => over('ends'),
      (error) => over(`throws ${error.name}`),
    );
  }
}

for (;;) {
  const jobs = await (await fetch('/jobs')).json();
  jobs.forEach(run);
}
