// Parses an AsyncAPI document from standard input; prints what the parser finds, as JSON.

import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
const messages = document?.messages().all() ?? [];
console.log(
  JSON.stringify({
    // 0 and 1 are errors and warnings.
    findings: diagnostics.filter(({ severity }) => severity < 2),
    version: document?.version(),
    channels: document?.channels().all().map((channel) => channel.address()),
    operations: document?.operations().all().map((one) => [one.id(), one.action(), one.messages().all().length]),
    messages: messages.map((message) => [message.id(), message.name(), message.payload()?.type() ?? "none"]),
    query: Object.keys(document?.operations().get("open")?.bindings().get("http")?.json()?.query?.properties ?? {}),
    security: document?.components().securitySchemes().all().map((one) => one.id()).sort(),
  }),
);
