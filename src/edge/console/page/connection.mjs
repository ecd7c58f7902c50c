// The EventSource: opened, cut, taken up again. It tells what happens and keeps the cursor.
// Not here: what events mean (state), why a stream is refused (explain).

/** Whether a credential is a token: three parts with dots between. Anything else is a key. */
export const isToken = (credential) => /^[^.]+\.[^.]+\.[^.]+$/.test(credential);

/** What a person is to chatmux, as query parameters. */
export function whoQuery({ tenantId, workflow, participantId }) {
  const who = { tenantId, workflow, participantId };
  return new URLSearchParams(Object.entries(who).filter(([, value]) => value));
}

/** The URL of a stream. Parameters that are at their default are left out. */
export function streamUrl(settings, cursor = '') {
  const url = new URL(settings.path, settings.base);
  url.search = whoQuery(settings);
  const query = url.searchParams;
  if (settings.credential) query.set(isToken(settings.credential) ? 'access_token' : 'apikey', settings.credential);
  if (settings.vocabulary) query.set('vocabulary', settings.vocabulary);
  if (settings.heartbeatSeconds) query.set('heartbeatSeconds', settings.heartbeatSeconds);
  if (settings.types?.length > 0) query.set('types', settings.types.join(','));
  if (settings.errorsEvent) query.set('errors', 'event');
  if (cursor) query.set('lastEventId', cursor);
  return url;
}

/** The credential as a header, for calls. */
export function credentialHeaders(credential) {
  if (!credential) return {};
  return isToken(credential) ? { Authorization: `Bearer ${credential}` } : { 'X-API-Key': credential };
}

/**
 * A connection that can be cut and taken up again.
 *
 * `onEvent({name, id, text})` gets each event, with an id only where it has one of its own;
 * `onChange(kind)` one of `opening`, `lost` (the browser comes back by itself), `gone` (it does not).
 */
export function connection({ messageTypes, controlEvents, onEvent, onChange }) {
  let source;
  let cursor = '';

  function close() {
    source?.close();
    source = undefined;
  }

  function open(settings, from) {
    close();
    cursor = from;
    const opened = new EventSource(streamUrl(settings, cursor));
    source = opened;
    onChange('opening');
    for (const name of [...messageTypes, ...controlEvents]) {
      opened.addEventListener(name, (event) => {
        if (source !== opened) return;
        if (event.lastEventId) cursor = event.lastEventId;
        // To control events EventSource gives the id of the last message.
        const id = messageTypes.includes(name) ? event.lastEventId : '';
        onEvent({ name, id, text: event.data });
      });
    }
    opened.onerror = () => {
      if (source !== opened) return;
      onChange(opened.readyState === EventSource.CLOSED ? 'gone' : 'lost');
    };
  }

  return {
    /** Begins anew, without a cursor. */
    open: (settings) => open(settings, ''),
    /** Goes on after the last event that came. */
    resume: (settings) => open(settings, cursor),
    /** Nothing more is heard until `resume`. */
    close,
    cursor: () => cursor,
  };
}
