// What the runners of Node speak: a job a line comes in, what its client hears goes out, as JSON.
//
// A job is {job, url, method, names, headers, cookie, ticket, stay}. `stay` asks for a client that
// comes back in the way that its documentation shows; without it the library is left alone.

import { createInterface } from 'node:readline';

export const tell = (job, kind, more) => console.log(JSON.stringify({ job, kind, ...more }));

export const hear = (job, { event, type, id, lastEventId, data }) =>
  tell(job, 'event', { name: event ?? type ?? 'message', id: id ?? lastEventId ?? '', data });

// Where to connect and how to show who it is. Asked before each connection: a ticket is good once.
export const connector = (job) => async () => {
  const headers = { ...job.headers };
  if (job.cookie) headers.Cookie = job.cookie;
  if (!job.ticket) return { url: job.url, headers };
  const answer = await fetch(job.ticket.url, { method: 'POST', headers: job.ticket.headers });
  const { ticket } = await answer.json();
  return { url: `${job.url}&ticket=${ticket}`, headers };
};

export async function serve(run) {
  for await (const line of createInterface({ input: process.stdin })) run(JSON.parse(line));
  process.exit();
}
