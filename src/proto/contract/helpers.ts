/**
 * Listens to one name of an EventSource: typed, parsed, with the cursor. What it gives back ends the listening.
 *
 *     on(stream, "Chat", (message) => show(message.text));
 */
export function on<Name extends EventName>(
  stream: EventSource,
  name: Name,
  react: (data: Events[Name], cursor: string) => void,
): () => void {
  const listener = (event: MessageEvent<string>): void => {
    react(JSON.parse(event.data) as Events[Name], event.lastEventId);
  };
  stream.addEventListener(name, listener);
  return () => stream.removeEventListener(name, listener);
}

/** An event as SSE readers for fetch give it. Names that these types do not know pass: end a `switch` with `default`. */
export function read(event: { event: string; id?: string; data: string }): StreamEvent {
  return { event: event.event, id: event.id, data: JSON.parse(event.data) as unknown } as StreamEvent;
}

/** Whether XiansAi sent it, so that its data is free JSON and not that of the type. */
export function isPassed<Type extends MessageType>(
  message: Envelope<Type>,
): message is PassedMessage<Type> {
  return message.source.backend === "xians";
}
