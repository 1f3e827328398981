// A passage's text as blocks: paragraphs, headings, items of lists, tables, code. Blocks hold ranges of the text, so that
// marks stay at their places. A range has `start` and `end`; it may have `show` (text to show instead), `line` (a line
// break) and the styles `code`, `strong`, `em` and `href`; ranges of one link share `link`.

const CODE =
  /\.(py|pyi|js|mjs|cjs|jsx|ts|tsx|java|kt|kts|scala|c|h|cc|cpp|cxx|hpp|hh|cs|go|rs|rb|php|swift|lua|pl|pm|r|jl|hs|ml|ex|exs|erl|clj|dart|sh|bash|zsh|fish|ps1|bat|sql|css|scss|less|html?|xml|svg|json|jsonl|yaml|yml|toml|ini|cfg|conf|cmake|mk|dockerfile|tf|proto|vim|el|lisp|f90|m|asm|s|diff|patch)$/i;
// As in the metadata of source code; HTML declares natural languages ("en") under the same name.
const LANGUAGES =
  /^(bash|c|cpp|c\+\+|c#|c_sharp|csharp|css|elixir|go|haskell|java|javascript|json|julia|kotlin|lua|ocaml|perl|php|python|r|ruby|rust|scala|shell|sql|swift|toml|tsx|typescript|yaml|zig)$/i;
const MARKDOWN = /\.(md|markdown|mdown|mkd|mdx|qmd|rmd)$/i;
const NOTEBOOK = /\.ipynb$/i;

/** Return the path of the file that a hit came from, or "". */
export function fileOf({ id, metadata }) {
  const named = [metadata.source, metadata.file, metadata.path].find((name) => typeof name === "string" && name);
  return named || (/\.\w{1,10}#\d+$/.test(id) ? id.replace(/#\d+$/, "") : "");
}

/** Return how a hit's text is shown: "code", "markdown", "lines" (as it is) or "text". */
export function kindOf(hit) {
  const file = fileOf(hit);
  const { language } = hit.metadata;
  if (NOTEBOOK.test(file)) return "lines";
  if (MARKDOWN.test(file)) return "markdown";
  // HTML, JSON Lines and XML are read as texts: their passages have no markup left.
  if (typeof language === "string" && LANGUAGES.test(language)) return "code";
  return CODE.test(file) && !/\.(html?|xml|jsonl)$/i.test(file) ? "code" : "text";
}

/** Return the blocks of a text: {kind, ranges, depth?, marker?, rows?}. */
export function blocksOf(text, kind) {
  if (kind === "code") return [{ kind: "code", ranges: dedented(text) }];
  if (kind === "lines") return [{ kind: "lines", ranges: [{ start: 0, end: text.length }] }];
  return kind === "markdown" ? markdown(text) : paragraphs(text);
}

/** Return the ranges of the lines of a text, without their line breaks. */
function linesOf(text) {
  const lines = [];
  for (let start = 0; start <= text.length; ) {
    const found = text.indexOf("\n", start);
    const end = found < 0 ? text.length : found;
    lines.push({ start, end });
    start = end + 1;
  }
  return lines;
}

// Code: a passage begins at its first word, so that a method's first line has lost the indentation that the others have

const CLOSING = /^\s*([)}\]]|end\s*;?$)/;

/** Return the ranges of code without the indentation that its first line has lost. */
function dedented(text) {
  const lines = linesOf(text);
  const lost = lostIndentation(lines.map(({ start, end }) => text.slice(start, end)));
  if (!lost) return [{ start: 0, end: text.length }];
  return lines.map(({ start, end }, i) => {
    const indentation = /^[ \t]*/.exec(text.slice(start, end))[0].length;
    return { start: start + (i ? Math.min(lost, indentation) : 0), end: Math.min(end + 1, text.length) };
  });
}

function lostIndentation([first, ...others]) {
  if (/^\s/.test(first)) return 0;
  const inner = others.filter((line) => line.trim());
  const depths = [...new Set(inner.map((line) => /^[ \t]*/.exec(line)[0].length))].sort((a, b) => a - b);
  const least = depths.length ? depths[0] : 0;
  const closes = inner.some((line) => CLOSING.test(line) && /^[ \t]*/.exec(line)[0].length === least);
  if (closes) return least;
  // Without a closing bracket the other lines are one level deeper than the first.
  const steps = depths.slice(1).map((depth, i) => depth - depths[i]);
  const step = steps.length ? Math.min(...steps) : Math.min(least, 4);
  return Math.max(least - step, 0);
}

// Plain text: hard-wrapped lines are joined

// Lines are wrapped at a width between these; shorter ones are verse or lists, longer ones whole paragraphs.
const MIN_WIDTH = 45;
const MAX_WIDTH = 130;
const ITEM = /^\s*([-*+•·|>#]|\d{1,4}[.):/\-T]|\w[\w .-]{0,20}: )/;
const WIDE = /[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]/;

function paragraphs(text) {
  const blocks = [];
  let lines = [];
  const close = () => {
    if (lines.length) blocks.push({ kind: "paragraph", ranges: unwrapped(text, lines) });
    lines = [];
  };
  for (const line of linesOf(text)) {
    if (text.slice(line.start, line.end).trim() === "") close();
    else lines.push(line);
  }
  close();
  return blocks;
}

/** Return the ranges of a paragraph; a line break goes where the next word would not have fitted into the line. */
function unwrapped(text, lines) {
  const widths = lines.map(({ start, end }) => text.slice(start, end).trimEnd().length);
  const width = Math.max(...widths);
  const wrapped = width >= MIN_WIDTH && width <= MAX_WIDTH;
  const ranges = [];
  for (const [i, line] of lines.entries()) {
    ranges.push({ ...line });
    if (i === lines.length - 1) break;
    const next = text.slice(lines[i + 1].start, lines[i + 1].end);
    const word = next.trimStart().split(/\s/, 1)[0].length;
    const full = widths[i] + 1 + word > width;
    ranges.push(joint(text, line.end, !(wrapped && full) || ITEM.test(next)));
  }
  return ranges;
}

/** Return the range of a line break: kept, or shown as a space; scripts without spaces need none. */
function joint(text, at, kept) {
  const between = /\s/.test(text[at - 1]) || (WIDE.test(text[at - 1]) && WIDE.test(text[at + 1])) ? "" : " ";
  return { start: at, end: at + 1, ...(kept ? { line: true } : { show: between }) };
}

// Markdown

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const QUOTE = /^ {0,3}>[ \t]?/;
const LIST = /^([ \t]*)([-*+]|\d{1,4}[.)])[ \t]+(?=\S)/;
const ROW = /^\s*\|.*\|\s*$/;
const DIVIDER = /^[\s|:-]+$/;

function markdown(text) {
  const blocks = [];
  let open = null; // The paragraph, item or quotation that the next line may continue.
  const lines = linesOf(text);
  let fence = openFence(text, lines);
  if (fence !== null) blocks.push({ kind: "code", ranges: [] });
  let afterBlank = true;
  for (const { start, end } of lines) {
    const line = text.slice(start, end);
    const block = blocks.at(-1);
    const fenced = FENCE.exec(line);
    if (fence !== null) {
      if (fenced && fenced[1].startsWith(fence.slice(0, 3)) && fenced[1].length >= fence.length && !fenced[2].trim()) {
        fence = null;
      } else if (block.ranges.length) block.ranges[0].end = end;
      else block.ranges.push({ start, end });
      continue;
    }
    const blank = line.trim() === "";
    const list = LIST.exec(line);
    const heading = HEADING.exec(line);
    if (fenced) {
      fence = fenced[1];
      blocks.push({ kind: "code", ranges: [] });
      open = null;
    } else if (blank) open = null;
    else if (heading) {
      const at = start + line.indexOf(heading[2], heading[0].indexOf(heading[1]) + heading[1].length);
      blocks.push({ kind: "heading", depth: heading[1].length, ranges: inline(text, at, at + heading[2].length) });
      open = null;
    } else if (RULE.test(line)) open = null;
    else if (ROW.test(line)) {
      const rows = block && block.kind === "table" && !afterBlank ? block.rows : [];
      if (!rows.length) blocks.push({ kind: "table", rows, ranges: [] });
      if (!DIVIDER.test(line)) rows.push(cells(text, start, line));
      open = null;
    } else if (list) {
      const depth = Math.min(Math.floor(list[1].replaceAll("\t", "    ").length / 2), 6);
      open = { kind: "item", depth, marker: /\d/.test(list[2]) ? list[2] : "•", ranges: [] };
      add(open, text, start + list[0].length, end);
      blocks.push(open);
    } else if (QUOTE.test(line)) {
      const at = start + QUOTE.exec(line)[0].length;
      if (!open || open.kind !== "quote") blocks.push((open = { kind: "quote", ranges: [] }));
      add(open, text, at, end);
    } else if (!open && afterBlank && /^( {4}|\t)/.test(line) && !(block && block.kind === "item")) {
      if (block && block.kind === "code" && block.indented) block.ranges[0].end = end;
      else blocks.push({ kind: "code", indented: true, ranges: [{ start, end }] });
      continue; // The next line is code as well: `afterBlank` stays.
    } else {
      if (!open) blocks.push((open = { kind: "paragraph", ranges: [] }));
      add(open, text, start + line.length - line.trimStart().length, end);
    }
    afterBlank = blank;
  }
  for (const block of blocks) if (block.lines) block.ranges = joined(text, block.lines);
  return blocks.filter((block) => block.ranges.length || (block.rows && block.rows.length));
}

/** Return the fence that a passage begins inside of, or null: a passage may be cut in the middle of code. */
function openFence(text, lines) {
  const fences = lines.map(({ start, end }) => FENCE.exec(text.slice(start, end))).filter(Boolean);
  return fences.length % 2 === 1 && !fences[0][2].trim() ? fences[0][1] : null;
}

const add = (block, text, start, end) => {
  block.lines = [...(block.lines || []), { start, end }];
};

/** Return the ranges of lines as one text: two spaces or a backslash at the end of a line break it. */
function joined(text, lines) {
  const ranges = [];
  for (const [i, { start, end }] of lines.entries()) {
    const line = text.slice(start, end);
    const breaks = /( {2,}|\\)$/.exec(line);
    ranges.push(...inline(text, start, breaks ? end - breaks[0].length : end));
    if (i < lines.length - 1) ranges.push(joint(text, end, Boolean(breaks)));
  }
  return ranges;
}

function cells(text, start, line) {
  const inner = line.replace(/^\s*\|/, "").replace(/\|\s*$/, "");
  let at = start + line.indexOf("|") + 1;
  return inner.split(/(?<!\\)\|/).map((cell) => {
    const from = at + cell.length - cell.trimStart().length;
    at += cell.length + 1;
    return inline(text, from, from + cell.trim().length);
  });
}

// Bounded repetitions: a document must not be able to stop the page.
const INLINE = new RegExp(
  [
    /(?<tick>`{1,3})(?<code>[^`](?:[^`\n]|`(?!\k<tick>)){0,300}?)\k<tick>(?!`)/,
    /!\[(?<alt>[^[\]\n]{0,300})\]\((?:[^()\s]|\([^()\s]{0,100}\)){0,500}(?:\s"[^"\n]{0,200}")?\)/,
    /\[(?<label>(?:[^[\]\n]|!\[[^[\]\n]{0,100}\]\([^()\s]{0,300}\)){1,300})\]\((?<url>(?:[^()\s]|\([^()\s]{0,100}\)){0,500})(?:\s"[^"\n]{0,200}")?\)/,
    /(?<strong>\*\*|(?<![\p{L}\p{N}_])__)(?=\S)(?<bold>[^\n]{0,299}?\S)\k<strong>/,
    /(?<em>\*|(?<![\p{L}\p{N}_])_)(?=[^\s*_])(?<italic>[^*_\n]{0,299}?[^\s*_])\k<em>(?![\p{L}\p{N}])/,
    /\\(?<escaped>[!-/:-@[-`{-~])/,
  ]
    .map((part) => part.source)
    .join("|"),
  "gu",
);

/** Return the ranges of inline Markdown, without its signs. Nested signs have their outer ones' styles too. */
function inline(text, start, end, style = {}) {
  const ranges = [];
  const plain = (from, to) => from < to && ranges.push({ start: from, end: to, ...style });
  const source = text.slice(start, end);
  let at = start;
  for (const match of source.matchAll(INLINE)) {
    const groups = match.groups;
    const from = start + match.index;
    const inside = (content) => from + match[0].indexOf(content, groups.alt === undefined ? 1 : 2);
    plain(at, from);
    at = from + match[0].length;
    if (groups.code !== undefined) {
      const begin = from + groups.tick.length;
      ranges.push({ start: begin, end: begin + groups.code.length, ...style, code: true });
    } else if (groups.alt !== undefined) {
      // The alternative text only: a picture would have to be loaded from elsewhere.
      const begin = inside(groups.alt);
      if (groups.alt) ranges.push({ start: begin, end: begin + groups.alt.length, ...style, em: true });
    } else if (groups.label !== undefined) {
      const href = safeAddress(groups.url);
      const begin = inside(groups.label);
      ranges.push(...inline(text, begin, begin + groups.label.length, href ? { ...style, href, link: begin } : style));
    } else if (groups.bold !== undefined) {
      const begin = from + groups.strong.length;
      ranges.push(...inline(text, begin, begin + groups.bold.length, { ...style, strong: true }));
    } else if (groups.italic !== undefined) {
      ranges.push(...inline(text, from + 1, from + 1 + groups.italic.length, { ...style, em: true }));
    } else if (groups.escaped !== undefined) {
      ranges.push({ start: from + 1, end: at, ...style });
    } else plain(from, at);
  }
  plain(at, end);
  return ranges;
}

/** Return an absolute web or mail address as the browser reads it, or "": nothing else can be followed. */
function safeAddress(url) {
  if (!/^(https?:\/\/|mailto:)/i.test(url)) return "";
  try {
    const address = new URL(url);
    return ["http:", "https:", "mailto:"].includes(address.protocol) ? address.href : "";
  } catch {
    return "";
  }
}
