// Why a stream does not open: EventSource does not say, so the same is asked by fetch.

const ADVICE = {
  204: 'The conversation is over for good: every source has ended.',
  400: 'Mend the fields of the connection.',
  401: 'Enter an API key or a token that this server knows.',
  403: 'The credential is good, but not for this tenant, workflow and participant.',
  404: 'No route has this path, tenant and workflow.',
  405: 'This path is no stream.',
  429: 'Too many streams were opened, or are open.',
  503: 'The process is going away.',
};

/** What an answer says to a person: a title and what to do. Pure. */
export function ofAnswer(status, body, retryAfter) {
  const own = typeof body?.message === 'string' ? body.message : '';
  const advice = [own, ADVICE[status] ?? 'The answer is no stream.'];
  if (retryAfter) advice.push(`Try again in ${retryAfter} s.`);
  const phrase = typeof body?.error === 'string' ? ` ${body.error}` : '';
  return { title: `${status}${phrase}`, advice: advice.filter(Boolean).join(' ') };
}

/** What no readable answer means. `isThere`: something answers that this page may not read. */
export function ofSilence(isThere, url, origin) {
  if (!isThere) {
    return {
      title: 'No answer',
      advice: `Nothing answers at ${url.origin}. Is the address right, the process running, its certificate trusted, and the address one of its listeners?`,
    };
  }
  return {
    title: 'Not readable from here (CORS)',
    advice: `${url.origin} answers, but does not let pages of ${origin} read it. Add "${origin}" to cors.allow_origins in the conf file, and reload.`,
  };
}

/** Asks what EventSource was not told. `undefined`: the stream opens now. */
export async function explain(url, origin) {
  const stop = new AbortController();
  const plain = new URL(url);
  plain.searchParams.delete('errors');
  try {
    const answer = await fetch(plain, { signal: stop.signal, cache: 'no-store', headers: { Accept: 'text/event-stream' } });
    if (answer.status === 200 && answer.headers.get('Content-Type')?.startsWith('text/event-stream')) return undefined;
    const body = await answer.json().catch(() => undefined);
    return { ...ofAnswer(answer.status, body, answer.headers.get('Retry-After')), status: answer.status };
  } catch {
    // An answer that may not be read is as good as none to fetch, but not without CORS.
    const isThere = await fetch(plain, { method: 'HEAD', mode: 'no-cors', signal: stop.signal, cache: 'no-store' }).then(
      () => true,
      () => false,
    );
    return ofSilence(isThere, plain, origin);
  } finally {
    stop.abort();
  }
}
