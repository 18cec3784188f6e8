// Questions to the server, and the events that it answers with while it writes.
const KEPT = "textdiffusion key";
const LOST = "the server cannot be reached; see whether it still runs, and try again.";

// What the server, or the way to it, has refused: one line for the reader.
export class Failure extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

// The key is for this tab alone, and is gone with it.
export const key = {
  get: () => sessionStorage.getItem(KEPT) ?? "",
  set: value => sessionStorage.setItem(KEPT, value),
};

async function answer(path, options = {}) {
  const headers = { ...options.headers, ...(key.get() && { Authorization: `Bearer ${key.get()}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Failure(LOST);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new Failure(body?.error?.message ?? `the server answers ${response.status}.`, response.status);
}

export async function get(path) {
  return (await answer(path)).json();
}

// The events of one text as { kind, data }: kind is "step", or "message" for a piece of the finished text.
export async function* events(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  const asked = JSON.stringify({ ...body, stream: true });
  const response = await answer(path, { method: "POST", headers, body: asked, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await read(reader);
    if (done) break;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const event = parsed(part);
      if (event.data === "[DONE]") return;
      const data = JSON.parse(event.data);
      if (data.error) throw new Failure(data.error.message);
      yield { kind: event.kind, data };
    }
  }
  throw new Failure("the connection was lost before the text was whole; try again.");
}

async function read(reader) {
  try {
    return await reader.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("the connection was lost before the text was whole; try again.");
  }
}

function parsed(part) {
  const event = { kind: "message", data: "" };
  for (const line of part.split("\n")) {
    if (line.startsWith("event: ")) event.kind = line.slice(7);
    if (line.startsWith("data: ")) event.data += line.slice(6);
  }
  return event;
}
