// A client as a page has it: every event, by name and by `switch`. It must compile as it stands.

import {
  type Events,
  type EventName,
  type CoreEvents,
  type Message,
  type MessageType,
  type SelfTestEvent,
  type SelfTestParameters,
  type StreamEvent,
  type StreamParameters,
  isPassed,
  on,
  read,
} from "./chatmux";

declare function show(...what: (string | number | boolean | undefined)[]): void;

export function open(base: string, parameters: StreamParameters): EventSource {
  const url = new URL("/events", base);
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  const stream = new EventSource(url);
  on(stream, "connected", (event) => show(event.resumed, event.tenantId));
  on(stream, "Chat", (message, cursor) => {
    show(cursor, message.sender?.name, message.text);
    if (isPassed(message)) {
      // Free JSON: whatever the page and its agents agreed on.
      show(JSON.stringify(message.data), message.source.backend);
    } else {
      for (const choice of message.data?.choices ?? []) show(choice.id, choice.title);
      for (const link of message.data?.links ?? []) show(link.url);
    }
  });
  on(stream, "Typing", (message) => show(message.data.state === "started"));
  const stop = on(stream, "gap", (gap) => show(gap.reason, gap.since, gap.source?.name));
  on(stream, "refused", (refusal) => {
    stop();
    stream.close();
    show(refusal.code, refusal.message, refusal.retryInSeconds);
  });
  return stream;
}

// The event's name tells the type of its data; with all names there, nothing is left.
export function react(event: StreamEvent): string {
  switch (event.event) {
    case "connected":
      return event.data.message;
    case "disconnected":
      return event.data.reason;
    case "source_up":
    case "source_down":
      return event.data.source.name;
    case "heartbeat":
      return String(event.data.subscriberCount);
    case "gap":
      return event.data.reason;
    case "refused":
      return event.data.error;
    case "Chat":
    case "Data":
    case "Reasoning":
    case "Tool":
    case "Webhook":
      return event.data.text ?? event.id;
    case "Handoff":
      return isPassed(event.data) ? "" : event.data.data.phase;
    case "Typing":
      return event.data.data.detail ?? event.data.data.state;
    case "Receipt":
      return event.data.data.messageId;
    case "Presence":
      return event.data.data.show;
    case "Participant":
      return event.data.data.participant.role;
    case "Status":
      return event.data.data.endedBy ?? event.data.data.state;
    case "Token":
      return event.data.data.messageId;
    case "Progress":
      return event.data.data?.indicator ?? "";
    case "File":
      return isPassed(event.data) ? "" : (event.data.data.files[0]?.kind ?? "");
    case "Form":
      return event.data.data?.formId ?? "";
    case "Invite":
      return event.data.data.room;
    case "Call":
      return event.data.data?.status ?? "";
    case "Signal":
      return JSON.stringify(event.data.data.signal);
    case "Notice":
      return event.data.data.level;
    case "Raw":
      return event.data.data.event;
    default: {
      const nothing: never = event;
      return String(nothing);
    }
  }
}

// A message object tells its type by itself.
export function words(message: Message): string {
  if (message.messageType === "Status") return message.data.state;
  if (message.messageType === "Form") return message.data?.name ?? "";
  const type: Exclude<MessageType, "Status" | "Form"> = message.messageType;
  return type;
}

// Six names, and everything else as `Data`.
export function core(message: CoreEvents["Data"]): string {
  return `${message.source.backend} ${JSON.stringify(message.data)}`;
}

// What lies between, event by event: with all names there, nothing is left.
export function test(event: SelfTestEvent): string {
  switch (event.event) {
    case "begin":
      return `${event.data.request.http} ${event.data.request.via ?? event.data.request.clientFrom}`;
    case "probe":
      return `${event.data.phase} ${event.data.number} ${event.data.padding?.length ?? 0}`;
    case "end":
      return event.data.reason;
    case "refused":
      return event.data.message;
    default: {
      const nothing: never = event;
      return String(nothing);
    }
  }
}

export const asked: SelfTestParameters = { workflow: "w", participantId: "p", idle: 30 };
export const known: Record<EventName, true> | undefined = undefined;
export const last = react(read({ event: "heartbeat", data: "{}" }));
export const chat: Events["Chat"]["messageType"] = "Chat";
