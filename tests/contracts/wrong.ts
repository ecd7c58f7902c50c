// What a client gets wrong. Each marked line must be refused by the compiler, and no other.

import {
  type Events,
  type SelfTestEvents,
  type SelfTestParameters,
  type StreamEvent,
  type StreamParameters,
  isPassed,
  on,
} from "./chatmux";

declare const stream: EventSource;

on(stream, "chat", () => {}); // wrong: a name in lower case
on(stream, "Chat", (message) => message.body); // wrong: a field that no message has
on(stream, "Chat", (message) => message.text.length); // wrong: text may be absent
on(stream, "Chat", (message) => message.data?.html); // wrong: data of XiansAi is free
on(stream, "Typing", (message) => message.data.state === "typing"); // wrong: another word
on(stream, "Typing", (message) => message.data.since); // wrong: a field of another event
on(stream, "gap", (gap) => gap.source.name); // wrong: a gap may be of the whole stream
on(stream, "source_down", (news) => news.retryInSeconds.toFixed()); // wrong: may be absent

export function react(event: StreamEvent): string {
  if (event.event === "Status") return event.data.data.phase; // wrong: of Handoff
  if (event.event === "Chat" && !isPassed(event.data)) return event.data.data.html; // wrong: may be absent
  if (event.event === "message") return ""; // wrong: there is no such event
  return event.event === "connected" ? event.id : ""; // wrong: control events have no id
}

export const parameters: StreamParameters = { workflow: "w" }; // wrong: participantId is required
export const vocabulary: StreamParameters["vocabulary"] = "compact"; // wrong: another word
export const direction: Events["Chat"]["direction"] = "outgoing"; // wrong: in lower case
export const backend: Events["Chat"]["source"]["backend"] = "slack"; // wrong: no dialect
export const padding: string = ({} as SelfTestEvents["probe"]).padding; // wrong: most have none
export const reason: SelfTestEvents["end"]["reason"] = "server_draining"; // wrong: a word of the stream
export const asked: SelfTestParameters = { workflow: "w", participantId: "p", idle: "5" }; // wrong: a number
export const elsewhere: StreamParameters = { workflow: "w", participantId: "p", idle: 5 }; // wrong: of the self-test
