// The page's state and actions; index.html has its structure, style.css its appearance.

import * as api from "./api.js";
import { blocksOf, fileOf, kindOf } from "./blocks.js";
import { FieldValues, chipText, facts, where } from "./filters.js";
import { milliseconds, passages, plan, scores, stages } from "./format.js";
import { highlight, paint } from "./painting.js";
import { panel } from "./panel.js";
import { exactMatches, excerpts, isLong, marks, words } from "./passages.js";
import { certificate, statistics, withEvery } from "./several.js";
import { uploads } from "./uploads.js";

const PAUSE = 140;
const K = 10;
// Characters of a query in one line; a longer one is shown smaller, in several lines.
const LONG_QUERY = 48;
// Documents whose titles are suggested as queries.
const SAMPLE = 24;
const THEME = "serotine.theme";

// A chip for one value of a field, not for a bound.
const isValueOf = (chip, field, value) =>
  chip.field === field && chip.value === value && ["==", "contains"].includes(chip.operator);

const searching = () => ({
  indexes: [],
  index: "",
  query: "",
  mode: "late",
  exact: false,
  chips: [],
  fields: [],
  suggestions: [],
  queryWords: [],
  hits: [],
  word: -1,
  pinned: -1,
  busy: false,
  loaded: false,
  status: "",
  problem: "",
  statistics: null,
  certificate: null,
  warnings: [],
  needsToken: false,
  token: "",
  theme: localStorage.getItem(THEME) || "auto",

  // Not reactive.
  _fieldValues: {},
  _timer: 0,
  _controller: null,

  get isLongQuery() {
    return this.query.length > LONG_QUERY;
  },

  init() {
    const parameters = new URLSearchParams(location.search);
    this.query = parameters.get("q") || "";
    if (["late", "bm25", "hybrid"].includes(parameters.get("mode"))) this.mode = parameters.get("mode");
    this.exact = parameters.get("exact") === "1" && this.mode === "late";
    this.index = parameters.get("index") || "";
    this.applyTheme();
    this.load();
  },

  async load() {
    this.problem = "";
    try {
      this.indexes = withEvery(await api.indexes());
    } catch (error) {
      this.showError(error);
      return;
    }
    this.loaded = true;
    this.needsToken = false;
    const requested = this.index;
    const isUnknown = requested !== "" && this.current === null;
    if (this.current === null) this.index = this.indexes.length ? this.indexes[0].name : "";
    if (isUnknown) {
      // Nothing is searched: results of another index would look like an answer.
      this.showFields();
      this.problem = `Unknown index “${requested}”; choose one of: ${this.realNames()}.`;
    } else this.openIndex();
    this.$nextTick(() => this.$refs.query.focus());
  },

  // Indexes

  get current() {
    return this.indexes.find((index) => index.name === this.index) || null;
  },
  get wordsOnly() {
    return this.current !== null && !this.current.encoder;
  },
  get writable() {
    // Files need an encoder: an index of vectors alone takes none.
    return this.current !== null && this.current.writable && Boolean(this.current.encoder);
  },
  get size() {
    return this.current === null ? "" : passages(this.current.documents);
  },

  openIndex() {
    this.chips = [];
    if (this.wordsOnly) this.mode = "bm25";
    if (this.mode !== "late") this.exact = false;
    this.showFields();
    this.suggest();
    this.search();
  },
  realNames() {
    return this.indexes.filter((item) => item.members === null).map((item) => item.name).join(", ");
  },
  /** Suggest queries: titles and headings of documents in the index. */
  async suggest() {
    this.suggestions = [];
    const index = this.index;
    if (this.current === null || this.current.documents === 0) return;
    try {
      const metadata = await api.sampleMetadata((this.current.members || [index])[0], SAMPLE);
      const names = metadata.map((item) => this.nameOf({ id: "", metadata: item }).title);
      const usable = [...new Set(names)].filter((name) => name.length >= 8 && name.length <= 60);
      if (index === this.index) this.suggestions = usable.slice(0, 4);
    } catch {
      // Suggestions are not worth an error.
    }
  },
  take(suggestion) {
    this.query = suggestion;
    this.search();
    this.$refs.query.focus();
  },
  fieldValues() {
    if (!this._fieldValues[this.index] && this.current !== null) {
      this._fieldValues[this.index] = new FieldValues(this.current.filterable || {});
    }
    return this._fieldValues[this.index];
  },
  showFields() {
    this.fields = this.current === null ? [] : this.fieldValues().list();
  },

  // Searching

  scheduleSearch() {
    clearTimeout(this._timer);
    this.query = this.query.replaceAll(/\s*\n\s*/g, " ");
    this.busy = this.query.trim() !== "";
    this._timer = setTimeout(() => this.search(), PAUSE);
  },
  setMode(mode) {
    this.mode = mode;
    if (mode !== "late") this.exact = false;
    this.search();
  },
  async search() {
    clearTimeout(this._timer);
    this._timer = 0;
    if (this._controller) this._controller.abort();
    this._controller = null;
    const query = this.query.trim();
    this.updateAddress(query);
    if (!query || this.current === null) {
      this.clear();
      return;
    }
    const controller = (this._controller = new AbortController());
    this.busy = true;
    try {
      const body = {
        query,
        indexes: this.current.members || [this.index],
        k: K,
        mode: this.mode,
        exact: this.exact,
        where: where(this.chips),
        explain: this.mode !== "bm25",
      };
      const response = await this.retryWhileBusy(() => api.search(body, controller.signal), controller.signal);
      // A later search has overtaken this one.
      if (this._controller !== controller) return;
      this.showResults(query, response);
    } catch (error) {
      if (error.name === "AbortError" || this._controller !== controller) return;
      this.showError(error);
    } finally {
      // What was typed meanwhile is searched next.
      if (this._controller === controller) this.busy = this._timer !== 0;
    }
  },
  /** Repeat a request while the server is busy. */
  async retryWhileBusy(work, signal) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        if (![429, 503].includes(error.status) || attempt === 5) throw error;
        this.status = "The server is busy; retrying…";
        await new Promise((resolve) => setTimeout(resolve, Math.min(error.retryAfter, 5) * 1000));
        if (signal.aborted) throw new DOMException("overtaken", "AbortError");
      }
    }
  },
  clear() {
    Object.assign(this, { hits: [], queryWords: [], statistics: null, certificate: null, warnings: [] });
    Object.assign(this, { word: -1, pinned: -1 });
    this.choose(null);
    Object.assign(this, { busy: false, status: "", problem: "" });
  },
  showResults(query, response) {
    const queryWords = words(query);
    const stats = statistics(response.indexes);
    const shownScores = scores(stats.plan, response.warnings);
    const hits = response.hits.map((hit, rank) => ({ ...this.asPassage(hit, rank, queryWords), ...shownScores(hit) }));
    this.fieldValues().add(response.hits);
    this.showFields();
    Object.assign(this, { queryWords, hits, word: -1, pinned: -1, problem: "" });
    this.choose(hits[0] || null);
    this.certificate = certificate(response.indexes);
    this.warnings = response.warnings;
    this.statistics = {
      found: passages(hits.length),
      plan: plan(stats),
      stages: stages(stats.milliseconds),
      total: milliseconds(response.milliseconds.total),
    };
    const count = hits.length === 0 ? "Nothing found" : passages(hits.length);
    this.status = `${count} in ${milliseconds(response.milliseconds.total)}`;
  },
  asPassage(hit, rank, queryWords) {
    const text = hit.text || "";
    const kind = kindOf(hit);
    const marked = hit.explanation ? marks(hit.explanation, queryWords) : exactMatches(text, queryWords);
    const best = queryWords.map((_, word) => this.bestMatch(text, marked, word));
    const { title, place } = this.nameOf(hit);
    const blocks = blocksOf(text, kind);
    // A passage that begins with its own heading shows it as the title.
    const heading = blocks[0] && blocks[0].kind === "heading" ? blocks.shift() : null;
    const repeats = heading && title === text.slice(heading.ranges[0].start, heading.ranges.at(-1).end);
    if (heading && !repeats) blocks.unshift(heading);
    return {
      key: `${rank} ${hit.index} ${hit.id}`,
      index: hit.index,
      rank: rank + 1,
      id: hit.id,
      title,
      place,
      text,
      kind,
      blocks,
      titleBlock: repeats ? heading : null,
      metadata: hit.metadata,
      // The ids of a file's passages already contain its name.
      facts: facts(hit.metadata)
        .filter((fact) => !hit.id.startsWith(`${fact.value}#`) && fact.value !== title)
        .slice(0, 8)
        .map((fact) => ({ ...fact, text: `${fact.field} ${fact.value}` })),
      marked,
      best,
      excerpts: excerpts(text, marked, kind),
      long: isLong(text, kind),
      whole: false,
    };
  },
  /** Return a hit's title, the last of its headings, and the place in its file, with the headings above. */
  nameOf({ id, metadata }) {
    const named = [metadata.heading, metadata.symbol, metadata.title].filter((name) => typeof name === "string" && name);
    const headings = typeof metadata.heading === "string" ? metadata.heading.split(" > ") : [];
    const title = headings.length ? headings.at(-1) : named[0] || "";
    const span = (first, last) => (Number.isInteger(last) && last > first ? `s ${first}–${last}` : ` ${first}`);
    const above = headings.slice(0, -1);
    const place = [...(above.includes(metadata.title) || title === metadata.title ? [] : [metadata.title]), ...above];
    for (const name of ["page", "line", "slide", "cell"]) {
      if (Number.isInteger(metadata[name])) place.push(name + span(metadata[name], metadata[`last_${name}`]));
    }
    const file = fileOf({ id, metadata });
    const shown = [id.startsWith(file) ? "" : file, ...place].filter((item) => typeof item === "string" && item);
    return { title, place: shown.join(" · ") };
  },
  bestMatch(text, marked, word) {
    let best = null;
    for (const mark of marked) {
      if (!(word in mark.by)) continue;
      if (best !== null && !(mark.by[word] > best.similarity)) continue;
      best = { text: text.slice(mark.start, mark.end), similarity: mark.by[word] };
    }
    return best;
  },
  showError(error) {
    this.busy = false;
    this.status = "";
    if (error.status === 401) {
      this.needsToken = true;
      this.problem = this.token ? "Unknown token." : "";
      this.$nextTick(() => this.$refs.token.focus());
      return;
    }
    this.problem = error.message;
  },
  enterToken() {
    api.useToken(this.token);
    if (this.loaded) {
      this.needsToken = false;
      this.search();
    } else this.load();
  },
  updateAddress(query) {
    const parameters = new URLSearchParams();
    if (query) parameters.set("q", query);
    if (this.indexes.length > 1) parameters.set("index", this.index);
    if (this.mode !== "late") parameters.set("mode", this.mode);
    if (this.exact) parameters.set("exact", "1");
    const text = parameters.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
  },

  // Passages and query words

  paintPassage(element, hit) {
    paint(element, hit.text, hit.blocks, hit.marked, hit.whole ? [[0, hit.text.length]] : hit.excerpts);
    // Deferred, so that Alpine does not repaint the passage for every highlighted word.
    queueMicrotask(() => highlight(element, this.word));
  },
  paintTitle(element, hit) {
    element.classList.toggle("plain", hit.title === "");
    if (hit.titleBlock === null) element.textContent = hit.title || hit.id;
    else {
      paint(element, hit.text, [{ ...hit.titleBlock, kind: "title" }], hit.marked, [[0, hit.text.length]]);
      queueMicrotask(() => highlight(element, this.word));
    }
  },
  updateHighlight(element) {
    highlight(element, this.word);
  },
  toggleWhole(hit) {
    hit.whole = hit.long && !hit.whole;
  },
  lookAtWord(word) {
    this.word = word >= 0 ? word : this.pinned;
  },
  pinWord(word) {
    this.pinned = this.pinned === word ? -1 : word;
    this.lookAtWord(this.pinned);
    this.announce();
  },
  stepWord(step) {
    if (!this.queryWords.length) return;
    this.pinned = ((this.pinned + 1 + step + this.queryWords.length + 1) % (this.queryWords.length + 1)) - 1;
    this.lookAtWord(this.pinned);
    this.announce();
  },
  announce() {
    if (this.pinned < 0) {
      this.status = "All matches are shown again";
      return;
    }
    const matches = this.hits.map((hit) => hit.best[this.pinned]).filter(Boolean);
    const matchedWords = [...new Set(matches.map((best) => best.text.toLowerCase()))].slice(0, 5).join(", ");
    const { text } = this.queryWords[this.pinned];
    this.status = `“${text}” matched in ${matches.length} of ${this.hits.length} passages: ${matchedWords}`;
  },
  lookAtMark(event) {
    const mark = event.target.closest("mark");
    this.lookAtWord(mark ? Number(mark.dataset.words.split(" ")[0]) : -1);
  },
  matchOf(hit) {
    const best = this.word < 0 ? null : hit.best[this.word];
    if (best === null || best === undefined) return "";
    return best.similarity === null ? best.text : `${best.text} ${best.similarity.toFixed(2)}`;
  },
  matchWidth(hit) {
    const best = this.word < 0 ? null : hit.best[this.word];
    return { "--share": best && best.similarity !== null ? Math.max(best.similarity, 0).toFixed(3) : 0 };
  },
  stageWidth(stage) {
    return { "--share": stage.share.toFixed(3) };
  },

  // Filters

  chipText,
  isOn(field, value) {
    return this.chips.some((chip) => isValueOf(chip, field, value));
  },
  toggle(field, value, operator) {
    const on = this.isOn(field, value);
    this.chips = this.chips.filter((chip) => !isValueOf(chip, field, value));
    if (!on) this.chips = [...this.chips, { field, operator, value }];
    this.search();
  },
  setBound(field, operator, event) {
    const text = event.target.value.trim();
    this.chips = this.chips.filter((chip) => !(chip.field === field && chip.operator === operator));
    if (text !== "" && Number.isFinite(Number(text))) {
      this.chips = [...this.chips, { field, operator, value: Number(text) }];
    }
    this.search();
  },
  boundOf(field, operator) {
    const chip = this.chips.find((chip) => chip.field === field && chip.operator === operator);
    return chip ? chip.value : "";
  },
  addTypedValue(field, event) {
    const value = event.target.value.trim();
    event.target.value = "";
    // Equality never matches a list.
    const { values } = this.fields.find((candidate) => candidate.name === field);
    const operator = values.some((item) => item.operator === "contains") ? "contains" : "==";
    if (value && !this.isOn(field, value)) this.toggle(field, value, operator);
  },
  closeFields(event) {
    for (const open of document.querySelectorAll("details[open].field")) {
      if (!open.contains(event.target)) open.open = false;
    }
  },
  removeFilter(chip) {
    this.chips = this.chips.filter((other) => other !== chip);
    this.search();
    this.$refs.query.focus();
  },
  removeAllFilters() {
    this.chips = [];
    this.search();
    this.$refs.query.focus();
  },

  // Keys

  onKey(event) {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
    if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && !typing) {
      event.preventDefault();
      this.$refs.query.focus();
      this.$refs.query.select();
      return;
    }
    if (event.key === "Enter" && event.target === this.$refs.query) {
      // The field wraps long queries, but a query is one line.
      event.preventDefault();
      this.search();
      return;
    }
    const open = event.target.closest("details[open].field");
    if (event.key === "Escape" && open) {
      open.open = false;
      open.querySelector("summary").focus();
      return;
    }
    const hits = [...document.querySelectorAll(".hit")];
    const position = hits.indexOf(document.activeElement);
    const inQuery = event.target === this.$refs.query;
    if (event.key === "Escape") {
      if (inQuery && this.query) {
        event.preventDefault();
        this.query = "";
        this.search();
      } else {
        this.pinned = -1;
        this.lookAtWord(-1);
        this.$refs.query.focus();
      }
    } else if (event.key === "ArrowDown" && (inQuery || position >= 0) && hits.length) {
      event.preventDefault();
      this.focusOn(hits[Math.min(position + 1, hits.length - 1)]);
    } else if (event.key === "ArrowUp" && position >= 0) {
      event.preventDefault();
      this.focusOn(position === 0 ? this.$refs.query : hits[position - 1]);
    } else if (position >= 0 && (event.key === "ArrowRight" || event.key === "ArrowLeft")) {
      event.preventDefault();
      this.stepWord(event.key === "ArrowRight" ? 1 : -1);
    } else if (position >= 0 && event.key === "Enter") {
      event.preventDefault();
      this.toggleWhole(this.hits[position]);
    }
  },
  focusOn(element) {
    element.focus({ preventScroll: true });
    const position = [...document.querySelectorAll(".hit")].indexOf(element);
    if (position >= 0) this.choose(this.hits[position]);
    const reduceMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ block: "nearest", behavior: reduceMotion ? "auto" : "smooth" });
  },

  // Light and dark

  applyTheme() {
    document.documentElement.dataset.theme = this.theme;
    localStorage.setItem(THEME, this.theme);
  },
  nextTheme() {
    const order = ["auto", "light", "dark"];
    this.theme = order[(order.indexOf(this.theme) + 1) % order.length];
    this.applyTheme();
  },
  get themeText() {
    return { auto: "Light or dark, as the system", light: "Light", dark: "Dark" }[this.theme];
  },
});

/** The page's component; descriptors keep getters as they are. */
export const page = () => {
  const component = {};
  for (const part of [searching(), panel(), uploads()]) {
    Object.defineProperties(component, Object.getOwnPropertyDescriptors(part));
  }
  return component;
};
