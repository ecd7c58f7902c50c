// Types of a chatmux stream, vocabulary 1. Made by `chatmux schema typescript`.
// For people: docs/events.md, docs/browser.md. Ignore names and fields you do not know.

/** Any JSON. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** RFC 3339, UTC, milliseconds. */
export type Time = string;

/** A dialect. */
export type Backend = "openfire" | "xians" | "salesforce" | "brightpattern";

/** `Outgoing`: towards the participant. `Incoming`: the participant's own, echoed. */
export type Direction = "Outgoing" | "Incoming";

/** Why chatmux ends a stream. */
export type DisconnectReason = "draining" | "slow_consumer" | "token_expired" | "revoked" | "max_age" | "sources_ended";

/** Why a source is away. */
export type DownReason = "unauthorized" | "rate_limited" | "refused" | "dns" | "tls" | "timeout" | "bad_status" | "bad_content_type" | "closed" | "reset" | "silent" | "ended";

/** A picture, or not. */
export type FileKind = "image" | "attachment";

/** Why events may be missing. */
export type GapReason = "cursor_expired" | "restarted" | "upstream_no_replay" | "overflow";

/** How far a hand-over is. */
export type HandoffPhase = "requested" | "offered" | "revoked" | "accepted" | "completed" | "failed";

/** How grave a notice is. */
export type NoticeLevel = "info" | "warning" | "error";

/** Came, or went. */
export type ParticipantChange = "joined" | "left";

/** Delivered, or read. */
export type ReceiptKind = "delivered" | "read";

/** What somebody is in a conversation. */
export type Role = "participant" | "agent" | "bot" | "system" | "supervisor" | "peer";

/** `connection`: who holds the connection. `header`: whom a trusted proxy names. `ignored`: who holds the connection, though a proxy that is not trusted names another. */
export type SelfTestClientFrom = "connection" | "header" | "ignored";

/** Why a self-test ends: all was sent, or chatmux had to end it early. */
export type SelfTestEndReason = "done" | "draining" | "token_expired" | "revoked";

/** A version of HTTP. */
export type SelfTestHttp = "1.0" | "1.1" | "2";

/** What a probe is for. */
export type SelfTestPhase = "burst" | "paced" | "padded" | "silence";

/** XMPP's words for availability. */
export type Show = "online" | "away" | "chat" | "dnd" | "xa" | "offline";

/** States of a session. */
export type StatusState = "queued" | "connecting" | "connected" | "active" | "waiting" | "ended" | "failed";

/** How a text is written. */
export type TextFormat = "plain" | "markdown";

/** What they do instead. */
export type TypingDetail = "paused" | "active" | "inactive" | "gone";

/** Whether somebody types. */
export type TypingState = "started" | "stopped";

/** Telephony call status. */
export interface CallData {
  /** The state, if it is a plain word. */
  status?: string;
  /** What the telephony system said. */
  payload?: Json;
}

/** What belongs to something said. */
export interface ChatData {
  /** How `text` is written, where known. */
  format?: TextFormat;
  /** Sanitised markup of the same text. */
  html?: string;
  /** Its subject line. */
  subject?: string;
  /** The `id` of the message that this one corrects. */
  replaces?: string;
  /** The `id` of the message that this one answers. */
  inReplyTo?: string;
  /** The room it was said in. */
  room?: string;
  /** Said earlier, delivered now. */
  delayed?: boolean;
  /** What can be chosen, or what was chosen. */
  choices?: Choice[];
  /** How the choices want to be shown, in the backend's word. */
  style?: string;
  /** Links in it. */
  links?: Link[];
  /** What else the backend carried with it. */
  payload?: Json;
}

/** One choice. */
export interface Choice {
  /** The backend's id of the option. */
  id?: string;
  /** What to show. */
  title?: string;
  /** A second line. */
  description?: string;
}

/** The stream is open: its first event, once. */
export interface Connected {
  /** For people who look at the stream. */
  message: string;
  /** When it was sent. */
  timestamp: Time;
  /** The workflow id of the subscription. */
  workflowId: string;
  /** Whose stream it is. */
  participantId: string;
  /** The tenant. */
  tenantId: string;
  /** Whether the cursor was taken up. */
  resumed: boolean;
}

/** chatmux itself ends the stream: its last event. */
export interface Disconnected {
  /** When it was sent. */
  timestamp: Time;
  /** Why. */
  reason: DisconnectReason;
}

/** Files. */
export interface FileData {
  /** Which. */
  files: FileItem[];
}

/** One file. */
export interface FileItem {
  /** The backend's id. */
  id?: string;
  /** As the sender called it. */
  name?: string;
  /** Whether it is a picture. */
  kind: FileKind;
  /** Its MIME type. */
  mediaType?: string;
  /** Where a browser finds it. */
  url?: string;
}

/** Something to fill in. */
export interface FormContent {
  /** Goes back with the answer. */
  formId?: string;
  /** Its name. */
  name?: string;
  /** How long it may be filled in. */
  timeoutSeconds?: number;
  /** What is filled in must not be kept. */
  secure?: boolean;
  /** What the form asks, in the backend's own shape. */
  fields?: Json;
}

/** Events may be missing and could not be recovered: read the history again. */
export interface Gap {
  /** When it was sent. */
  timestamp: Time;
  /** Of which source; absent: the whole stream. */
  source?: SourceTag;
  /** Why. */
  reason: GapReason;
  /** Since when. */
  since?: Time;
}

/** What is known of a hand-over. */
export interface HandoffData {
  /** How far it is. */
  phase: HandoffPhase;
  /** Who served so far. */
  fromAgent?: string;
  /** Who serves from now. */
  toAgent?: string;
  /** Why. */
  reason?: string;
  /** The queue it went through. */
  workgroup?: string;
  /** The backend's id of the offer. */
  offerId?: string;
  /** Where it goes on. */
  room?: string;
  /** Where it goes on, for a browser. */
  url?: string;
  /** What the visitor had filled in. */
  metadata?: { [key: string]: Json };
}

/** A sign of life, every `heartbeatSeconds`. */
export interface Heartbeat {
  /** When it was sent. */
  timestamp: Time;
  /** Live streams of the same tenant, workflow and participant on this node. */
  subscriberCount: number;
}

/** An invitation to a room. */
export interface InviteData {
  /** The room. */
  room: string;
  /** Who invites. */
  inviter?: string;
  /** Why. */
  reason?: string;
  /** To get in. */
  password?: string;
  /** For a browser. */
  url?: string;
}

/** One link. */
export interface Link {
  /** Where to. */
  url: string;
  /** What to show. */
  title?: string;
  /** A picture's address. */
  image?: string;
}

/** How grave a notice is. */
export interface NoticeData {
  /** How grave. */
  level: NoticeLevel;
  /** A word for programs. */
  code?: string;
}

/** Who came or went. */
export interface ParticipantData {
  /** Came, or went. */
  change: ParticipantChange;
  /** Who. */
  participant: Party;
  /** The backend's own word for what they are. */
  party?: string;
  /** Was there before the participant. */
  initial?: boolean;
}

/** Somebody who came or went. */
export interface Party {
  /** The backend's id. */
  id?: string;
  /** For people. */
  name?: string;
  /** First name. */
  firstName?: string;
  /** Last name. */
  lastName?: string;
  /** What they are. */
  role: Role;
}

/** Whether somebody is there. */
export interface PresenceData {
  /** There at all. */
  available: boolean;
  /** In what mood. */
  show: Show;
}

/** What an agent program is doing. */
export interface ProgressData {
  /** The backend's word for it. */
  indicator?: string;
}

/** A frame without a mapping. */
export interface RawData {
  /** The backend's name for it, `unknown` if it has none. */
  event: string;
  /** The frame's data: JSON if it is JSON, else text. */
  body: Json;
}

/** Which message was delivered or read. */
export interface ReceiptData {
  /** Which of the two. */
  receipt: ReceiptKind;
  /** The `id` of the message meant. */
  messageId: string;
  /** When, if the backend says so apart from the event's own time. */
  at?: Time;
}

/** Why there is no stream; only with `errors=event`, on a route that allows it. */
export interface Refused {
  /** The HTTP status that the refusal has otherwise. */
  code: number;
  /** The reason phrase of that status. */
  error: string;
  /** What to do. */
  message: string;
  /** When to come back, where waiting helps. */
  retryInSeconds?: number;
}

/** A self-test begins: its first event, once. */
export interface SelfTestBegin {
  /** Milliseconds since `begin`, by the clock of chatmux. */
  sentMs: number;
  /** When it was sent. */
  timestamp: Time;
  /** The version of this form: 1. */
  version: number;
  /** How many probes come. */
  probes: number;
  /** The longest silence that is tried. */
  idleSeconds: number;
  /** How long all of it takes, where nothing is in the way. */
  takesMs: number;
  /** The heartbeat of a stream with these parameters. */
  heartbeatSeconds: number;
  /** What chatmux saw of the request. */
  request: SelfTestRequest;
}

/** A self-test ends: its last event. */
export interface SelfTestEnd {
  /** Milliseconds since `begin`, by the clock of chatmux. */
  sentMs: number;
  /** Why. */
  reason: SelfTestEndReason;
}

/** One probe of a self-test. */
export interface SelfTestProbe {
  /** Milliseconds since `begin`, by the clock of chatmux. */
  sentMs: number;
  /** Which, from 1. */
  number: number;
  /** What it is for. */
  phase: SelfTestPhase;
  /** How long nothing is sent after it. */
  nextMs: number;
  /** There to fill buffers. */
  padding?: string;
}

/** A request as it came to chatmux, past whatever is in between. */
export interface SelfTestRequest {
  /** How the last hop speaks. */
  http: SelfTestHttp;
  /** Its `Accept-Encoding`, at most 200 characters. */
  acceptEncoding?: string;
  /** Its `Via`, at most 200 characters. */
  via?: string;
  /** Whom chatmux takes for the client. */
  clientFrom: SelfTestClientFrom;
  /** Whether the header `Last-Event-ID` came along. */
  lastEventId: boolean;
}

/** Who did it. */
export interface Sender {
  /** As the backend writes it. */
  id?: string;
  /** For people. */
  name?: string;
  /** What they are. */
  role: Role;
}

/** WebRTC signalling. */
export interface SignalData {
  /** As sent. */
  signal: Json;
  /** The party it is for. */
  destination?: string;
}

/** Where a message comes from. */
export interface Source {
  /** The source's name in the conf. */
  name: string;
  /** Its dialect. */
  backend: Backend;
  /** The backend's own name for what happened. */
  event: string;
}

/** A source was lost or could not be reached; the stream stays open. */
export interface SourceDown {
  /** When it was sent. */
  timestamp: Time;
  /** Which. */
  source: SourceTag;
  /** Why. Told again only when this changes. */
  reason: DownReason;
  /** When it is tried again. */
  retryInSeconds?: number;
}

/** A source. */
export interface SourceTag {
  /** Its name in the conf. */
  name: string;
  /** Its dialect. */
  backend: Backend;
}

/** A source came up, or came up again. */
export interface SourceUp {
  /** When it was sent. */
  timestamp: Time;
  /** Which. */
  source: SourceTag;
  /** Whether its backend was asked to go on where it stopped. */
  resumed: boolean;
}

/** The state of the session. */
export interface StatusData {
  /** The state. */
  state: StatusState;
  /** Why. */
  reason?: string;
  /** Until somebody is free. */
  estimatedWaitSeconds?: number;
  /** Place in the queue, as the backend counts. */
  position?: number;
  /** Who ended it. */
  endedBy?: Role;
  /** What else the backend says of the queue. */
  queue?: { [key: string]: Json };
}

/** Where a piece of an answer belongs, or a verdict on the pieces. */
export interface TokenData {
  /** The `id` of the message that the pieces become. */
  messageId: string;
  /** A verdict; `false`: take back what was streamed. */
  valid?: boolean;
  /** Why it is not valid. */
  reason?: string;
  /** For sorting. */
  sequence?: number;
  /** The turn of the conversation, as the backend has it. */
  turn?: Json;
  /** The attempt at the answer, as the backend has it. */
  batch?: Json;
}

/** Whether somebody types. */
export interface TypingData {
  /** Whether they type. */
  state: TypingState;
  /** What is known beyond `stopped`. */
  detail?: TypingDetail;
}

/** The names of the message events. */
export type MessageType = "Chat" | "Data" | "Handoff" | "Typing" | "Receipt" | "Presence" | "Participant" | "Status" | "Token" | "Progress" | "File" | "Form" | "Invite" | "Call" | "Signal" | "Notice" | "Reasoning" | "Tool" | "Webhook" | "Raw";

/** What all message objects have. */
export interface Envelope<Type extends MessageType> {
  /** The backend's own id, or a minted one; equal ids: the same event. */
  id: string;
  /** Thread of XiansAi. */
  threadId?: string;
  /** Where in the backend this was said. */
  conversationId?: string;
  /** `<tenantId>:<workflow>`; XiansAi: the backend's. */
  workflowId: string;
  /** `<workflow>`; XiansAi: the backend's. */
  workflowType: string;
  /** Whose stream it is. */
  participantId: string;
  /** Which way it goes. */
  direction: Direction;
  /** The event's name. */
  messageType: Type;
  /** What a person reads: plain text, no markup. */
  text?: string;
  /** Of XiansAi, passed on. */
  hint?: string;
  /** Of XiansAi, passed on; what the parameter `scope` looks at. */
  scope?: string;
  /** Of XiansAi, passed on. */
  requestId?: string;
  /** Who did it, as the backend names them. */
  sender?: Sender;
  /** The backend's time, else the time of arrival. */
  createdAt: Time;
  /** Of XiansAi, passed on. */
  createdBy?: string;
  /** Where it comes from. */
  source: Source;
}

/** A message that XiansAi sent: its data is free. */
export interface PassedMessage<Type extends MessageType> extends Envelope<Type> {
  source: Source & { backend: "xians" };
  data?: Json;
}

/** Something said. */
export type ChatMessage = NativeChatMessage | PassedMessage<"Chat">;

/** As any backend but XiansAi says it. */
export interface NativeChatMessage extends Envelope<"Chat"> {
  source: Source & { backend: Exclude<Backend, "xians"> };
  data?: ChatData;
}

/** Free JSON of the backend, or something without a type of its own: then `data` has a `kind`, and the backend's own keys. */
export interface DataMessage extends Envelope<"Data"> {
  data?: Json;
}

/** Who serves the participant changes. */
export type HandoffMessage = NativeHandoffMessage | PassedMessage<"Handoff">;

/** As any backend but XiansAi says it. */
export interface NativeHandoffMessage extends Envelope<"Handoff"> {
  source: Source & { backend: Exclude<Backend, "xians"> };
  data: HandoffData;
}

/** Somebody is typing, or stopped. */
export interface TypingMessage extends Envelope<"Typing"> {
  data: TypingData;
}

/** A message was delivered or read. */
export interface ReceiptMessage extends Envelope<"Receipt"> {
  data: ReceiptData;
}

/** Somebody is there, or not; `text` is the status line. */
export interface PresenceMessage extends Envelope<"Presence"> {
  data: PresenceData;
}

/** Somebody came or went. */
export interface ParticipantMessage extends Envelope<"Participant"> {
  data: ParticipantData;
}

/** The state of the session; `text` is what to show. */
export interface StatusMessage extends Envelope<"Status"> {
  data: StatusData;
}

/** A piece of an answer that is being written (`text`), or a verdict on what was streamed (`valid`). */
export interface TokenMessage extends Envelope<"Token"> {
  data: TokenData;
}

/** An agent program says what it is doing. */
export interface ProgressMessage extends Envelope<"Progress"> {
  data?: ProgressData;
}

/** Files; `text` is the caption. */
export type FileMessage = NativeFileMessage | PassedMessage<"File">;

/** As any backend but XiansAi says it. */
export interface NativeFileMessage extends Envelope<"File"> {
  source: Source & { backend: Exclude<Backend, "xians"> };
  data: FileData;
}

/** Something to fill in; `text` is its prompt. */
export interface FormMessage extends Envelope<"Form"> {
  data?: FormContent;
}

/** An invitation to a room. */
export interface InviteMessage extends Envelope<"Invite"> {
  data: InviteData;
}

/** Telephony call status. */
export interface CallMessage extends Envelope<"Call"> {
  data?: CallData;
}

/** WebRTC signalling, passed on. */
export interface SignalMessage extends Envelope<"Signal"> {
  data: SignalData;
}

/** Something to show that nobody said. */
export interface NoticeMessage extends Envelope<"Notice"> {
  data: NoticeData;
}

/** A step of an agent program: what it thinks. */
export interface ReasoningMessage extends Envelope<"Reasoning"> {
  data?: Json;
}

/** A step of an agent program: what it uses. */
export interface ToolMessage extends Envelope<"Tool"> {
  data?: Json;
}

/** A step of an agent program: what called it. */
export interface WebhookMessage extends Envelope<"Webhook"> {
  data?: Json;
}

/** Something that chatmux has no mapping for. */
export interface RawMessage extends Envelope<"Raw"> {
  data: RawData;
}

/** A message object; `messageType` says which. */
export type Message = MessageEvents[MessageType];

/** The message events, by name. */
export interface MessageEvents {
  Chat: ChatMessage;
  Data: DataMessage;
  Handoff: HandoffMessage;
  Typing: TypingMessage;
  Receipt: ReceiptMessage;
  Presence: PresenceMessage;
  Participant: ParticipantMessage;
  Status: StatusMessage;
  Token: TokenMessage;
  Progress: ProgressMessage;
  File: FileMessage;
  Form: FormMessage;
  Invite: InviteMessage;
  Call: CallMessage;
  Signal: SignalMessage;
  Notice: NoticeMessage;
  Reasoning: ReasoningMessage;
  Tool: ToolMessage;
  Webhook: WebhookMessage;
  Raw: RawMessage;
}

/** The control events, by name. */
export interface ControlEvents {
  connected: Connected;
  disconnected: Disconnected;
  source_up: SourceUp;
  source_down: SourceDown;
  heartbeat: Heartbeat;
  gap: Gap;
  refused: Refused;
}

/** Every event, by name. */
export interface Events extends MessageEvents, ControlEvents {}

/** The names of the events. */
export type EventName = keyof Events;

/** An event; `event` says which. */
export type StreamEvent =
  | { [Name in keyof MessageEvents]: { event: Name; id: string; data: MessageEvents[Name] } }[keyof MessageEvents]
  | { [Name in keyof ControlEvents]: { event: Name; id?: undefined; data: ControlEvents[Name] } }[keyof ControlEvents];

/** What other types become in the core vocabulary. */
export type CoreData =
  | { kind: "Typing"; text?: string; data: TypingData }
  | { kind: "Receipt"; text?: string; data: ReceiptData }
  | { kind: "Presence"; text?: string; data: PresenceData }
  | { kind: "Participant"; text?: string; data: ParticipantData }
  | { kind: "Status"; text?: string; data: StatusData }
  | { kind: "Token"; text?: string; data: TokenData }
  | { kind: "Progress"; text?: string; data?: ProgressData }
  | { kind: "File"; text?: string; data?: FileData | Json }
  | { kind: "Form"; text?: string; data?: FormContent }
  | { kind: "Invite"; text?: string; data: InviteData }
  | { kind: "Call"; text?: string; data?: CallData }
  | { kind: "Signal"; text?: string; data: SignalData }
  | { kind: "Notice"; text?: string; data: NoticeData }
  | { kind: "Reasoning"; text?: string; data?: Json }
  | { kind: "Tool"; text?: string; data?: Json }
  | { kind: "Webhook"; text?: string; data?: Json }
  | { kind: "Raw"; text?: string; data: RawData }
  | { kind: "gap"; data: Gap };

/** Such a message. */
export interface CoreMessage extends Omit<Envelope<"Data">, "source"> {
  source: Omit<Source, "backend"> & { backend: Backend | "chatmux" };
  data: CoreData;
}

/** The events of the core vocabulary, by name. */
export interface CoreEvents {
  connected: Connected;
  disconnected: Disconnected;
  heartbeat: Heartbeat;
  refused: Refused;
  Chat: ChatMessage;
  Data: DataMessage | CoreMessage;
  Handoff: HandoffMessage;
}

/** The events of a self-test, by name. */
export interface SelfTestEvents {
  begin: SelfTestBegin;
  probe: SelfTestProbe;
  end: SelfTestEnd;
  refused: Refused;
}

/** An event of a self-test (GET to the stream's path with `/selftest` behind it); `event` says which. */
export type SelfTestEvent =
  { [Name in keyof SelfTestEvents]: { event: Name; data: SelfTestEvents[Name] } }[keyof SelfTestEvents];

/** The query parameters of a stream. */
export interface StreamParameters {
  /** The workflow, or the whole workflow id: `<tenantId>:` in front. */
  workflow: string;
  /** Whose stream it is. */
  participantId: string;
  /** The tenant; required unless the credential names exactly one. */
  tenantId?: string;
  /** A credential, for clients that cannot set headers. */
  apikey?: string;
  /** A credential, as `apikey`. */
  access_token?: string;
  /** Stands for a credential, once and for 30 seconds: POST to the path of the stream with `/ticket` behind it gives one. */
  ticket?: string;
  /** Of events that have a scope, only those with this one pass. */
  scope?: string;
  /** How often `heartbeat` comes; without it as the route says. */
  heartbeatSeconds?: number;
  /** Only these message types pass; control events always do. */
  types?: string;
  /** `core`: only the names of the XiansAi API; without it as the route says. */
  vocabulary?: "full" | "core";
  /** As the header `Last-Event-ID`, which wins. */
  lastEventId?: string;
  /** `event`: refusals come as the event `refused`, if the route allows that. */
  errors?: "event";
}

/** The query parameters of a self-test. */
export interface SelfTestParameters extends StreamParameters {
  /** Seconds of the longest silence that is tried: 5 without it, 0 for none. */
  idle?: number;
}

/** The body of a refusal that comes as plain HTTP. */
export interface Refusal {
  /** The reason phrase. */
  error: string;
  /** What to do. */
  message: string;
  /** Of 429: whole seconds. */
  retryAfter?: string;
}

/** What POST to the stream's path with `/ticket` behind it gives. */
export interface Ticket {
  /** For the parameter `ticket`, once. */
  ticket: string;
  /** Seconds. */
  expiresIn: number;
}

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
