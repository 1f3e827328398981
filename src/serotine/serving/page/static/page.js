// The page's state and actions; index.html has its structure, style.css its appearance.

import * as api from "./api.js";
import { chosen, dropped } from "./files.js";
import { FieldValues, chipText, facts, where } from "./filters.js";
import { exactMatches, excerpts, highlight, isLong, marks, paint, words } from "./passages.js";
import { milliseconds, number, plan, stages } from "./format.js";

const PAUSE = 140;
const POLL = 400;
const K = 10;
// Files per request; the server's limit is 1,000.
const FILES_PER_REQUEST = 500;
const THEME = "serotine.theme";

// A chip for one value of a field, not for a bound.
const isValueOf = (chip, field, value) =>
  chip.field === field && chip.value === value && ["==", "contains"].includes(chip.operator);

const passages = (count) => `${number(count)} passage${count === 1 ? "" : "s"}`;

export const page = () => ({
  indexes: [],
  index: "",
  query: "",
  mode: "late",
  exact: false,
  chips: [],
  fields: [],
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
  needsToken: false,
  token: "",
  theme: localStorage.getItem(THEME) || "auto",
  uploading: { state: "idle", message: "", share: null, skipped: [] },
  dragging: false,

  // Not reactive.
  _fieldValues: {},
  _timer: 0,
  _controller: null,
  _uploadAbort: null,

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
      this.indexes = await api.indexes();
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
      this.problem = `Unknown index “${requested}”; choose one of: ${this.indexes.map((item) => item.name).join(", ")}.`;
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
    this.search();
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
    if (this._controller) this._controller.abort();
    this._controller = null;
    const query = this.query.trim();
    this.updateAddress(query);
    if (!query || this.current === null) {
      this.clear();
      return;
    }
    const controller = (this._controller = new AbortController());
    const index = this.index;
    this.busy = true;
    try {
      const body = {
        query,
        k: K,
        mode: this.mode,
        exact: this.exact,
        where: where(this.chips),
        explain: this.mode !== "bm25",
      };
      const response = await this.retryWhileBusy(() => api.search(index, body, controller.signal), controller.signal);
      // A later search has overtaken this one.
      if (this._controller !== controller) return;
      this.showResults(query, response);
    } catch (error) {
      if (error.name === "AbortError" || this._controller !== controller) return;
      this.showError(error);
    } finally {
      if (this._controller === controller) this.busy = false;
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
    Object.assign(this, { hits: [], queryWords: [], statistics: null, certificate: null, word: -1, pinned: -1 });
    Object.assign(this, { busy: false, status: "", problem: "" });
  },
  showResults(query, response) {
    const queryWords = words(query);
    const hits = response.hits.map((hit, rank) => this.asPassage(hit, rank, queryWords));
    this.fieldValues().add(response.hits);
    this.showFields();
    Object.assign(this, { queryWords, hits, word: -1, pinned: -1, problem: "" });
    this.certificate = response.certificate;
    this.statistics = {
      plan: plan(response.stats),
      stages: stages(response.stats.milliseconds),
      total: milliseconds(response.milliseconds.total),
    };
    const count = hits.length === 0 ? "Nothing found" : passages(hits.length);
    this.status = `${count} in ${milliseconds(response.milliseconds.total)}`;
  },
  asPassage(hit, rank, queryWords) {
    const text = hit.text || "";
    const marked = hit.explanation ? marks(hit.explanation, queryWords) : exactMatches(text, queryWords);
    const best = queryWords.map((_, word) => this.bestMatch(text, marked, word));
    return {
      key: `${rank} ${hit.id}`,
      rank: rank + 1,
      id: hit.id,
      // The title of a document, or else the headings above a passage of a file.
      title: [hit.metadata.title, hit.metadata.heading].find((name) => typeof name === "string") || "",
      score: hit.score === null ? "" : hit.score.toFixed(this.mode === "hybrid" ? 4 : 2),
      text,
      // Lists, verse and code keep their line breaks; wrapped prose does not.
      lines: text.length / text.split("\n").length < 60,
      // The ids of a file's passages already contain its name.
      facts: facts(hit.metadata)
        .filter((fact) => !hit.id.startsWith(`${fact.value}#`))
        .slice(0, 8)
        .map((fact) => ({ ...fact, text: `${fact.field} ${fact.value}` })),
      marked,
      best,
      excerpts: excerpts(text, marked),
      long: isLong(text),
      whole: false,
    };
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
    paint(element, hit.text, hit.marked, hit.whole ? [[0, hit.text.length]] : hit.excerpts);
    // Deferred, so that Alpine does not repaint the passage for every highlighted word.
    queueMicrotask(() => highlight(element, this.word));
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

  // Files

  openFiles() {
    if (this.uploading.state === "done" || this.uploading.state === "failed") this.uploading = this.noUpload();
    this.$refs.files.showModal();
  },
  closeFiles() {
    this.$refs.files.close();
  },
  noUpload: () => ({ state: "idle", message: "", share: null, skipped: [] }),
  sendChosen(event) {
    const files = chosen(event.target.files);
    event.target.value = "";
    this.send(files);
  },
  onDragOver(event) {
    if (this.writable && event.dataTransfer && [...event.dataTransfer.types].includes("Files")) {
      event.preventDefault();
      this.dragging = true;
    }
  },
  async dropFiles(event) {
    this.dragging = false;
    if (!this.writable || !event.dataTransfer || !event.dataTransfer.items.length) return;
    event.preventDefault();
    const files = dropped(event.dataTransfer);
    if (!this.$refs.files.open) this.$refs.files.showModal();
    this.send(await files);
  },
  get sending() {
    return this.uploading.state === "sending" || this.uploading.state === "indexing";
  },
  async send(files) {
    if (this.sending) return;
    if (!files.length) {
      this.uploading = { ...this.noUpload(), state: "failed", message: "The folder contains no files." };
      return;
    }
    const controller = (this._uploadAbort = new AbortController());
    const index = this.index;
    const count = `${number(files.length)} file${files.length === 1 ? "" : "s"}`;
    const totals = { files: files.length, done: 0, added: 0, skipped: [], error: null };
    try {
      for (let start = 0; start < files.length && totals.error === null; start += FILES_PER_REQUEST) {
        const batch = files.slice(start, start + FILES_PER_REQUEST);
        const sent = (share) => (this.uploading.share = (start + share * batch.length) / files.length);
        const share = start / files.length;
        this.uploading = { state: "sending", message: `Sending ${count}…`, share, skipped: totals.skipped };
        const id = await api.upload(index, batch, sent, controller.signal);
        await this.waitForJob(id, totals);
      }
      const state = totals.error === null ? "done" : "failed";
      const message = totals.error === null ? `${passages(totals.added)} added.` : totals.error;
      this.uploading = { state, message, share: null, skipped: totals.skipped };
    } catch (error) {
      const refused = error.status === 401 || error.status === 403;
      const cause = refused ? "This requires a token with write access." : error.message;
      const added = `${passages(totals.added)} of the first ${number(totals.done)} files were added.`;
      const message = totals.done ? `${cause} ${added}` : cause;
      this.uploading = { state: "failed", message, share: null, skipped: totals.skipped };
      if (error.status === 401) this.needsToken = true;
    }
  },
  /** Wait until one batch of files is indexed, then add its counts to `totals`. */
  async waitForJob(id, totals) {
    for (;;) {
      const job = await api.job(id);
      const [done, added] = [totals.done + job.done, totals.added + job.added];
      const skipped = [...totals.skipped, ...job.skipped];
      if (job.state === "done" || job.state === "failed") {
        const failure = job.error || "Indexing failed; the server's log has the details.";
        const error = job.state === "failed" ? failure : null;
        Object.assign(totals, { done, added, skipped, error });
        await this.refresh();
        return;
      }
      const progress = `Indexing: ${number(done)} of ${number(totals.files)} files, ${passages(added)}…`;
      const message = job.state === "queued" ? "Waiting…" : progress;
      this.uploading = { state: "indexing", message, share: done / totals.files, skipped };
      await new Promise((resolve) => setTimeout(resolve, POLL));
    }
  },
  stopUpload() {
    if (this._uploadAbort) this._uploadAbort.abort();
  },
  /** Reload the counts and the results after a change. */
  async refresh() {
    this.indexes = await api.indexes();
    this.search();
  },
});
