// From an explanation to a passage with its matched words marked. Text only ever becomes text nodes.

const LETTERS = /[\p{L}\p{N}]/u;
const ASCII = /[A-Za-z0-9]/;
const LONG = 800;
const WINDOW = 420;
// What is left out between two stretches, or at an end, is more than this.
const NEAR = 40;
const STRONG = 0.6;

/** Turns the server's character offsets into JavaScript's, which count characters above U+FFFF twice. */
export function places(text) {
  if (!/[\ud800-\udfff]/.test(text)) return (at) => at;
  const starts = [];
  let length = 0;
  for (const character of text) {
    starts.push(length);
    length += character.length;
  }
  starts.push(length);
  return (at) => starts[Math.min(at, starts.length - 1)];
}

/** The words of a question: their text and place. */
export function words(query) {
  if (typeof Intl.Segmenter === "function") {
    const found = [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(query)];
    return found
      .filter((piece) => piece.isWordLike)
      .map((piece) => ({ text: piece.segment, start: piece.index, end: piece.index + piece.segment.length }));
  }
  return [...query.matchAll(/[\p{L}\p{N}\p{M}]+/gu)].map((match) => ({
    text: match[0],
    start: match.index,
    end: match.index + match[0].length,
  }));
}

/**
 * The marked stretches of a passage, in text order: {start, end, weight, by}. A weight is a similarity over the
 * passage's best; `by` has, for each word of the question that chose this stretch, its similarity.
 */
export function marks(explanation, asked) {
  const inQuery = places(explanation.query);
  const inText = places(explanation.text);
  const found = new Map();
  for (const match of explanation.matches) {
    if (match.token === null || !(match.similarity > 0)) continue;
    const from = inQuery(match.query_start);
    if (!LETTERS.test(explanation.query.slice(from, inQuery(match.query_end)))) continue;
    const word = asked.findIndex((each) => each.start <= from && from < each.end);
    let [start, end] = [inText(match.start), inText(match.end)];
    if (word < 0 || !LETTERS.test(explanation.text.slice(start, end))) continue;
    [start, end] = wordAround(explanation.text, start, end);
    const key = `${start}:${end}`;
    if (!found.has(key)) found.set(key, { start, end, weight: 0, by: {} });
    const mark = found.get(key);
    mark.by[word] = Math.max(mark.by[word] || 0, match.similarity);
    mark.weight = Math.max(mark.weight, match.similarity);
  }
  const joined = [];
  for (const mark of [...found.values()].sort((one, other) => one.start - other.start)) {
    const last = joined.at(-1);
    if (!last || last.end <= mark.start) {
      joined.push(mark);
      continue;
    }
    last.end = Math.max(last.end, mark.end);
    last.weight = Math.max(last.weight, mark.weight);
    for (const [word, similarity] of Object.entries(mark.by)) {
      last.by[word] = Math.max(last.by[word] || 0, similarity);
    }
  }
  const best = Math.max(...joined.map((mark) => mark.weight));
  for (const mark of joined) mark.weight /= best;
  return joined;
}

/** Where words of the question stand as they are, for answers that nothing explains (BM25). */
export function sameWords(text, asked) {
  const wanted = new Map(asked.map((word, number) => [word.text.toLowerCase(), number]));
  return words(text)
    .filter((word) => wanted.has(word.text.toLowerCase()))
    .map(({ text: word, start, end }) => ({ start, end, weight: 1, by: { [wanted.get(word.toLowerCase())]: null } }));
}

// Only ASCII words are widened: scripts without spaces would grow to a whole sentence.
function wordAround(text, start, end) {
  if (ASCII.test(text[start])) while (start > 0 && ASCII.test(text[start - 1])) start -= 1;
  if (ASCII.test(text[end - 1])) while (end < text.length && ASCII.test(text[end])) end += 1;
  return [start, end];
}

export const isLong = (text) => text.length > LONG;

/**
 * The stretches of a long passage that are shown at first, [from, to] in text order: the one with the most weight in
 * it, and another where that leaves out something that matched well.
 */
export function excerpts(text, marked) {
  if (!isLong(text)) return [[0, text.length]];
  const first = widened(text, heaviest(marked, WINDOW));
  const outside = marked.filter((mark) => mark.weight >= STRONG && (mark.end <= first[0] || mark.start >= first[1]));
  if (!outside.length) return [first];
  const second = widened(text, heaviest(outside, WINDOW / 2), WINDOW / 2);
  const [one, other] = first[0] < second[0] ? [first, second] : [second, first];
  return other[0] - one[1] < NEAR ? [[one[0], Math.max(one[1], other[1])]] : [one, other];
}

/** From the first to the last mark of the heaviest run no longer than `width`. */
function heaviest(marked, width) {
  let [best, start, end, weight, first] = [0, 0, 0, 0, 0];
  for (const mark of marked) {
    // Squared: many faint matches do not make up for one that is meant.
    weight += mark.weight ** 2;
    while (mark.end - marked[first].start > width && marked[first] !== mark) {
      weight -= marked[first].weight ** 2;
      first += 1;
    }
    if (weight > best) [best, start, end] = [weight, marked[first].start, mark.end];
  }
  return [start, end];
}

/** A run with as much around it as makes `width` characters, cut between words. */
function widened(text, [start, end], width = WINDOW) {
  const left = Math.max(Math.min(start - (width - (end - start)) / 2, text.length - width), 0);
  const right = Math.max(Math.min(left + width, text.length), end);
  const from = left > NEAR ? text.indexOf(" ", left) + 1 : 0;
  const to = right < text.length - NEAR ? text.lastIndexOf(" ", right) : text.length;
  return [from === 0 && left > NEAR ? Math.round(left) : Math.min(from, start), to < end ? Math.round(right) : to];
}

/** Fills `element` with stretches of a passage. */
export function paint(element, text, marked, stretches) {
  const pieces = [];
  for (const [from, to] of stretches) {
    if (from > 0) pieces.push(pieces.length ? " … " : "… ");
    let at = from;
    for (const mark of marked) {
      if (mark.start < at || mark.end > to) continue;
      pieces.push(text.slice(at, mark.start));
      const shade = document.createElement("mark");
      shade.textContent = text.slice(mark.start, mark.end);
      shade.dataset.words = Object.keys(mark.by).join(" ");
      shade.style.setProperty("--weight", shadeOf(mark.weight).toFixed(3));
      pieces.push(shade);
      at = mark.end;
    }
    pieces.push(text.slice(at, to));
  }
  if (stretches.at(-1)[1] < text.length) pieces.push(" …");
  element.replaceChildren(...pieces);
}

/** Lights what one word of the question chose, or, for -1, everything as it was. */
export function light(element, word) {
  for (const mark of element.querySelectorAll("mark")) {
    const chosen = mark.dataset.words.split(" ").includes(String(word));
    mark.classList.toggle("chosen", word >= 0 && chosen);
    mark.classList.toggle("other", word >= 0 && !chosen);
  }
}

// Every word chooses something, if only a "the": what matches much worse than the best is hardly shaded.
const shadeOf = (weight) => Math.max((weight - 0.35) / 0.65, 0) ** 1.5;
