// The matched words of passages, and the excerpts around them.

const LETTERS = /[\p{L}\p{N}]/u;
const IN_WORD = /[\p{L}\p{N}\p{M}]/u;
const WITHOUT_SPACES =
  /[\p{Script_Extensions=Han}\p{Script_Extensions=Hiragana}\p{Script_Extensions=Katakana}\p{Script=Bopomofo}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\p{Script=Tibetan}]/u;
// Characters in four or five lines of the page's column.
const WINDOW = 420;
const LINE = WINDOW / 5;
const LINES = 6;
const MIN_WINDOW = 80;
// Shorter omissions, between two excerpts or at an end, are shown instead.
const MIN_OMITTED = 40;
// As `RELEVANT_WEIGHT` in serotine/excerpts.py: much weaker matches are not relevant.
const RELEVANT_WEIGHT = 0.7;

/** Return a function from the server's character offsets to JavaScript's, which count those above U+FFFF twice. */
export function utf16Offsets(text) {
  if (!/[\ud800-\udfff]/.test(text)) return (offset) => offset;
  const starts = [];
  let length = 0;
  for (const character of text) {
    starts.push(length);
    length += character.length;
  }
  starts.push(length);
  return (offset) => starts[Math.min(offset, starts.length - 1)];
}

/** Return the words of a query with their offsets. */
export function words(query) {
  if (typeof Intl.Segmenter === "function") {
    const segments = [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(query)];
    return segments
      .filter((segment) => segment.isWordLike)
      .map(({ segment, index }) => ({ text: segment, start: index, end: index + segment.length }));
  }
  return [...query.matchAll(/[\p{L}\p{N}\p{M}]+/gu)].map((match) => ({
    text: match[0],
    start: match.index,
    end: match.index + match[0].length,
  }));
}

/**
 * Return the marks of a passage in text order: {start, end, weight, by}. A weight is similarity times rarity, divided by the
 * passage's best; `by` has the similarity for each query word that chose this mark.
 */
export function marks(explanation, queryWords) {
  const inQuery = utf16Offsets(explanation.query);
  const inText = utf16Offsets(explanation.text);
  const byRange = new Map();
  for (const match of explanation.matches) {
    if (match.token === null || !(match.similarity > 0)) continue;
    const from = inQuery(match.query_start);
    if (!LETTERS.test(explanation.query.slice(from, inQuery(match.query_end)))) continue;
    const word = queryWords.findIndex((queryWord) => queryWord.start <= from && from < queryWord.end);
    let [start, end] = [inText(match.start), inText(match.end)];
    if (word < 0 || !LETTERS.test(explanation.text.slice(start, end))) continue;
    [start, end] = wordAround(explanation.text, start, end);
    const key = `${start}:${end}`;
    if (!byRange.has(key)) byRange.set(key, { start, end, weight: 0, by: {} });
    const mark = byRange.get(key);
    mark.by[word] = Math.max(mark.by[word] || 0, match.similarity);
    mark.weight = Math.max(mark.weight, match.similarity * match.rarity);
  }
  const joined = [];
  for (const mark of [...byRange.values()].sort((a, b) => a.start - b.start)) {
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

/** Return marks for exact occurrences of query words, for results without explanations (BM25). */
export function exactMatches(text, queryWords) {
  const positions = new Map(queryWords.map((word, position) => [word.text.toLowerCase(), position]));
  return words(text)
    .filter((word) => positions.has(word.text.toLowerCase()))
    .map(({ text: word, start, end }) => {
      const position = positions.get(word.toLowerCase());
      return { start, end, weight: 1, by: { [position]: null } };
    });
}

// As `_word_around` in serotine/index/search/explanation.py: scripts without spaces would expand to a whole sentence.
function wordAround(text, start, end) {
  const inside = (character) => IN_WORD.test(character) && !WITHOUT_SPACES.test(character);
  if (inside(text[start])) while (start > 0 && inside(text[start - 1])) start -= 1;
  if (inside(text[end - 1])) while (end < text.length && inside(text[end])) end += 1;
  return [start, end];
}

/** Return the number of characters that fill five lines: fewer where lines are short, as in code, lists and short paragraphs. */
function windowOf(text, kind) {
  const mean = text.length / Math.max(shownLines(text.trim(), kind), 1);
  return Math.min(WINDOW, Math.max(LINES * Math.min(mean, WINDOW), MIN_WINDOW));
}

export const isLong = (text, kind) => text.length > 1.3 * windowOf(text, kind);

/**
 * Return the excerpts of a long passage to show first, [from, to] in text order: the one with the most weight, and a
 * second where that omits a relevant match; together four or five lines.
 */
export function excerpts(text, marked, kind) {
  if (!isLong(text, kind)) return [[0, text.length]];
  const width = windowOf(text, kind);
  const around = (range, size) => {
    const excerpt = expanded(text, range, size);
    const whole = kind === "code" || kind === "lines" ? wholeLines(text, excerpt) : excerpt;
    return fewLines(text, kind, whole, range, Math.ceil((LINES * size) / width));
  };
  const best = heaviest(marked, width);
  const whole = around(best, width);
  const isOutside = ([from, to]) => (mark) => mark.end <= from || mark.start >= to;
  const relevant = marked.filter((mark) => mark.weight >= RELEVANT_WEIGHT);
  if (!relevant.some(isOutside(whole))) return [whole];
  const first = around(heaviest(marked, (2 * width) / 3), (2 * width) / 3);
  const second = around(heaviest(relevant.filter(isOutside(first)), width / 3), width / 3);
  const [left, right] = first[0] < second[0] ? [first, second] : [second, first];
  return right[0] - left[1] < MIN_OMITTED ? [[left[0], Math.max(left[1], right[1])]] : [left, right];
}

/** Return an excerpt with at most `most` lines: of others, those farther from the match go first. */
function fewLines(text, kind, [from, to], [start, end], most) {
  while (shownLines(text.slice(from, to), kind) > most) {
    const afterFirst = text.indexOf("\n", from) + 1;
    const beforeLast = text.lastIndexOf("\n", to - 1);
    const [first, last] = [afterFirst > from && afterFirst <= start, beforeLast >= end];
    if (first && (!last || start - from > to - end)) from = afterFirst;
    else if (last) to = beforeLast;
    else break;
  }
  return [from, to];
}

/** Return how many lines of the page some text takes. */
function shownLines(text, kind) {
  if (kind === "code" || kind === "lines") return text.split("\n").length;
  const lines = text.split(kind === "text" ? /\n\s*\n/ : "\n").filter((line) => line.trim());
  return lines.reduce((sum, line) => sum + Math.ceil(line.length / LINE), 0);
}

function wholeLines(text, [from, to]) {
  const end = text.indexOf("\n", to);
  return [text.lastIndexOf("\n", from - 1) + 1, end < 0 ? text.length : end];
}

/** Return the range from the first to the last mark of the heaviest run within `width` characters. */
function heaviest(marked, width) {
  let [best, start, end, weight, first] = [0, 0, 0, 0, 0];
  for (const mark of marked) {
    // Squared: many weak matches must not outweigh one strong match.
    weight += mark.weight ** 2;
    while (mark.end - marked[first].start > width && marked[first] !== mark) {
      weight -= marked[first].weight ** 2;
      first += 1;
    }
    if (weight > best) [best, start, end] = [weight, marked[first].start, mark.end];
  }
  return [start, end];
}

/** Return a range expanded to `width` characters, cut between words. */
function expanded(text, [start, end], width) {
  const left = Math.max(Math.min(start - (width - (end - start)) / 2, text.length - width), 0);
  const right = Math.max(Math.min(left + width, text.length), end);
  const from = left > MIN_OMITTED ? text.indexOf(" ", left) + 1 : 0;
  const to = right < text.length - MIN_OMITTED ? text.lastIndexOf(" ", right) : text.length;
  const begin = from === 0 && left > MIN_OMITTED ? Math.round(left) : Math.min(from, start);
  return [begin, to < end ? Math.round(right) : to];
}
