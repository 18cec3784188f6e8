// How a moment of a text becomes cells, one per token: the policy of views/cells.py, for events as they come.
export const MASK = "__";
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]$/u;
const STEERS = /(?![\n\t])[\p{Cc}\p{Cs}\u202a-\u202e\u2066-\u2069]/gu;

// Characters that would steer the page, such as those that turn the direction of writing, written out.
export function visible(text) {
  return text.replace(STEERS, found => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

// Cells of `frame`; `before` is what was made of the frame before it, null for the first.
export function cellsOf(frame, before, roles, { mask = MASK, last = false, special = new Set() } = {}) {
  let apart = true;
  return frame.tokens.map((token, i) => {
    const old = before?.[i], piece = frame.pieces[i], given = roles[i] === "prompt";
    const kind = given && piece !== null ? "prompt" : kindOf(frame, i, old, before === null || last);
    const text = piece === null ? (apart ? mask : ` ${mask}`) : visible(piece);
    if (text) apart = /\s$/.test(text) || WIDE.test(text);
    const written = kind === "new" || kind === "settled", same = written && old?.token === token;
    return {
      token, text, kind,
      confidence: written ? frame.confidence[i] : null,
      since: !written ? null : same && old.since !== null ? old.since : frame.step,
      choices: choicesOf(frame, i),
      silent: special.has(token) && piece === "",
      core: piece === null ? null : piece.trim(),
    };
  });
}

function kindOf(frame, i, old, atRest) {
  if (frame.pieces[i] === null || !frame.settled[i]) return "mask";
  if (atRest || !old) return "settled";
  // The space before a word comes and goes with its neighbours; that alone is no change.
  const changed = old.token !== frame.tokens[i] || old.core !== frame.pieces[i].trim();
  return changed || old.kind === "mask" ? "new" : "settled";
}

function choicesOf(frame, i) {
  const ids = frame.alternative_ids?.[i];
  return (frame.alternatives?.[i] ?? []).map(([piece, probability], n) => ({ id: ids?.[n] ?? null, piece, probability }));
}

// Places that are one thing to the reader: the bytes of a character, or the end of the text and all behind it.
export function groupOf(row, place) {
  const hidden = i => i >= 0 && row[i]?.text === "";
  const group = [place];
  if (row[place].silent) {
    for (let i = place + 1; i < row.length && row[i].silent; i++) group.push(i);
  } else {
    for (let i = place - 1; hidden(i) && !row[i].silent; i--) group.unshift(i);
  }
  return group;
}

// Whether this is the first of the tokens that end a text: it is shown, and stands for all of them.
export function endsText(row, place) {
  return place > 0 && row[place].silent && row[place].kind !== "prompt" && !row[place - 1].silent;
}
