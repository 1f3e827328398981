// Blocks of a passage as elements. Document text only ever becomes text nodes, in elements that are listed here.

const ELEMENTS = { title: "span", paragraph: "p", heading: "p", item: "p", quote: "p", code: "pre", lines: "p" };

/**
 * Fill `element` with blocks of a text.
 *
 * `marked` are the matches to shade; `shown` the ranges to show, in text order; what is omitted becomes "…".
 */
export function paint(element, text, blocks, marked, shown) {
  const painter = new Painter(text, marked, shown);
  element.replaceChildren(...blocks.map((block) => painter.block(block)).filter(Boolean));
  const last = element.lastElementChild;
  if (last && text.slice(shown.at(-1)[1]).trim() && !last.textContent.endsWith(" …")) last.append(" …");
}

class Painter {
  constructor(text, marked, shown) {
    Object.assign(this, { text, marked, shown, at: 0, next: 0 });
  }

  block(block) {
    if (block.kind === "table") return this.table(block);
    const element = document.createElement(ELEMENTS[block.kind]);
    element.className = block.kind;
    element.dir = block.kind === "code" ? "ltr" : "auto";
    if (block.depth) element.style.setProperty("--depth", block.depth);
    if (block.marker) element.dataset.marker = block.marker;
    if (!this.fill(element, block.ranges)) return null;
    if (this.text.slice(this.at, block.ranges.at(-1).end).trim()) element.append(" …");
    return element;
  }

  table(block) {
    const table = document.createElement("table");
    for (const cells of block.rows) {
      const row = document.createElement("tr");
      for (const ranges of cells) {
        const cell = document.createElement("td");
        cell.dir = "auto";
        if (this.fill(cell, ranges) || !ranges.length) row.append(cell);
      }
      if (row.textContent) table.append(row);
    }
    return table.rows.length ? table : null;
  }

  /** Append what is shown of some ranges; return whether anything is. */
  fill(element, ranges) {
    let filled = false;
    for (const range of ranges) {
      for (const [i, [from, to]] of this.shown.entries()) {
        const [start, end] = [Math.max(range.start, from), Math.min(range.end, to)];
        if (start >= end) continue;
        if (i >= this.next && this.text.slice(this.at, from).trim()) element.append(filled ? " … " : "… ");
        [this.at, this.next] = [to, i + 1];
        this.append(element, range, start, end);
        filled = true;
      }
    }
    return filled;
  }

  append(element, range, start, end) {
    if (range.line) element.append(document.createElement("br"));
    else if (range.show !== undefined) element.append(range.show);
    else this.styled(element, range).append(...this.pieces(start, end));
  }

  /** Return the element for a range's text: `element`, or one for the range's styles in it. */
  styled(element, { code, strong, em, href, link }) {
    const wrap = (name) => {
      const inner = document.createElement(name);
      element.append(inner);
      element = inner;
      return inner;
    };
    if (href && this.link && this.link.at === link && this.link.parent === element) element = this.link.element;
    else if (href) {
      const parent = element;
      Object.assign(wrap("a"), { href, target: "_blank", rel: "noopener noreferrer nofollow" });
      this.link = { at: link, parent, element };
    }
    if (strong) wrap("strong");
    if (em) wrap("em");
    if (code) wrap("code");
    return element;
  }

  /** Return a part of the text as text nodes and marks. */
  pieces(start, end) {
    const pieces = [];
    let at = start;
    for (const mark of this.marked) {
      const [from, to] = [Math.max(mark.start, at), Math.min(mark.end, end)];
      if (from >= to) continue;
      pieces.push(this.text.slice(at, from));
      const shade = document.createElement("mark");
      shade.textContent = this.text.slice(from, to);
      shade.dataset.words = Object.keys(mark.by).join(" ");
      shade.style.setProperty("--weight", shadeOf(mark.weight).toFixed(3));
      pieces.push(shade);
      at = to;
    }
    pieces.push(this.text.slice(at, end));
    return pieces;
  }
}

/** Highlight the matches of one query word; -1 removes the highlight. */
export function highlight(element, word) {
  for (const mark of element.querySelectorAll("mark")) {
    const chosen = mark.dataset.words.split(" ").includes(String(word));
    mark.classList.toggle("chosen", word >= 0 && chosen);
    mark.classList.toggle("other", word >= 0 && !chosen);
  }
}

// Every query word matches something, if only a "the": weak matches are hardly shaded.
const shadeOf = (weight) => Math.max((weight - 0.35) / 0.65, 0) ** 1.5;
