// The page's state and actions; index.html and style.css have its looks.

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
  answered: "",
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
  _aborting: null,
  _uploadAbort: null,

  init() {
    const link = new URLSearchParams(location.search);
    this.query = link.get("q") || "";
    if (["late", "bm25", "hybrid"].includes(link.get("mode"))) this.mode = link.get("mode");
    this.exact = link.get("exact") === "1" && this.mode === "late";
    this.index = link.get("index") || "";
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
    if (!this.indexes.some((index) => index.name === this.index)) this.index = this.indexes.length ? this.indexes[0].name : "";
    this.enter();
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
    return this.current !== null && this.current.writable;
  },
  get size() {
    return this.current === null ? "" : passages(this.current.documents);
  },

  enter() {
    this.chips = [];
    if (this.wordsOnly) this.mode = "bm25";
    if (this.mode !== "late") this.exact = false;
    this.showFields();
    this.ask();
  },
  fieldValues() {
    if (!this._fieldValues[this.index] && this.current !== null) this._fieldValues[this.index] = new FieldValues(this.current.filterable || {});
    return this._fieldValues[this.index];
  },
  showFields() {
    this.fields = this.current === null ? [] : this.fieldValues().list();
  },

  // Searching

  typed() {
    clearTimeout(this._timer);
    this.busy = this.query.trim() !== "";
    this._timer = setTimeout(() => this.ask(), PAUSE);
  },
  choose(mode) {
    this.mode = mode;
    if (mode !== "late") this.exact = false;
    this.ask();
  },
  async ask() {
    clearTimeout(this._timer);
    if (this._aborting) this._aborting.abort();
    this._aborting = null;
    const query = this.query.trim();
    this.updateAddress(query);
    if (!query || this.current === null) {
      this.clear();
      return;
    }
    const aborting = (this._aborting = new AbortController());
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
      const response = await this.retryWhileBusy(() => api.search(index, body, aborting.signal), aborting.signal);
      // A later search has overtaken this one.
      if (this._aborting !== aborting) return;
      this.show(query, response);
    } catch (error) {
      if (error.name === "AbortError" || this._aborting !== aborting) return;
      this.showError(error);
    } finally {
      if (this._aborting === aborting) this.busy = false;
    }
  },
  /** Runs a request again while the server is busy. */
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
    Object.assign(this, { hits: [], queryWords: [], statistics: null, certificate: null, word: -1, pinned: -1, busy: false });
    Object.assign(this, { answered: "", status: "", problem: "" });
  },
  show(query, response) {
    const queryWords = words(query);
    const hits = response.hits.map((hit, rank) => this.passage(hit, rank, queryWords));
    this.fieldValues().add(response.hits);
    this.showFields();
    Object.assign(this, { queryWords, hits, word: -1, pinned: -1, problem: "", answered: query });
    this.certificate = response.certificate;
    this.statistics = {
      plan: plan(response.stats),
      stages: stages(response.stats.milliseconds),
      total: milliseconds(response.milliseconds.total),
    };
    const count = hits.length === 0 ? "Nothing found" : `${hits.length} passage${hits.length === 1 ? "" : "s"}`;
    this.status = `${count} in ${milliseconds(response.milliseconds.total)}`;
  },
  passage(hit, rank, queryWords) {
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
      facts: facts(hit.metadata).filter((fact) => !hit.id.startsWith(`${fact.value}#`)).slice(0, 8).map((fact) => ({ ...fact, text: `${fact.field} ${fact.value}` })),
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
      if (best === null || mark.by[word] > best.similarity) best = { text: text.slice(mark.start, mark.end), similarity: mark.by[word] };
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
      this.ask();
    } else this.load();
  },
  updateAddress(query) {
    const link = new URLSearchParams();
    if (query) link.set("q", query);
    if (this.indexes.length > 1) link.set("index", this.index);
    if (this.mode !== "late") link.set("mode", this.mode);
    if (this.exact) link.set("exact", "1");
    const text = link.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
  },

  // Passages and query words

  fill(element, hit) {
    paint(element, hit.text, hit.marked, hit.whole ? [[0, hit.text.length]] : hit.excerpts);
    // Deferred, so that Alpine does not repaint the passage for every highlighted word.
    queueMicrotask(() => highlight(element, this.word));
  },
  updateHighlight(element) {
    highlight(element, this.word);
  },
  unfold(hit) {
    hit.whole = hit.long && !hit.whole;
  },
  look(word) {
    this.word = word >= 0 ? word : this.pinned;
  },
  pin(word) {
    this.pinned = this.pinned === word ? -1 : word;
    this.look(this.pinned);
    this.announce();
  },
  stepWord(step) {
    if (!this.queryWords.length) return;
    this.pinned = ((this.pinned + 1 + step + this.queryWords.length + 1) % (this.queryWords.length + 1)) - 1;
    this.look(this.pinned);
    this.announce();
  },
  announce() {
    if (this.pinned < 0) {
      this.status = "All matches are shown again";
      return;
    }
    const matches = this.hits.map((hit) => hit.best[this.pinned]).filter(Boolean);
    const matchedWords = [...new Set(matches.map((best) => best.text.toLowerCase()))].slice(0, 5).join(", ");
    this.status = `“${this.queryWords[this.pinned].text}” matched in ${matches.length} of ${this.hits.length} passages: ${matchedWords}`;
  },
  lookAtMark(event) {
    const mark = event.target.closest("mark");
    this.look(mark ? Number(mark.dataset.words.split(" ")[0]) : -1);
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
  share(stage) {
    return { "--share": stage.share.toFixed(3) };
  },

  // Filters

  chipText,
  isOn(field, value) {
    return this.chips.some((chip) => chip.field === field && chip.operator !== ">=" && chip.operator !== "<=" && chip.value === value);
  },
  toggle(field, value, operator) {
    const on = this.isOn(field, value);
    this.chips = this.chips.filter((chip) => !(chip.field === field && chip.value === value && ["==", "contains"].includes(chip.operator)));
    if (!on) this.chips = [...this.chips, { field, operator, value }];
    this.ask();
  },
  bound(field, operator, event) {
    const text = event.target.value.trim();
    this.chips = this.chips.filter((chip) => !(chip.field === field && chip.operator === operator));
    if (text !== "" && Number.isFinite(Number(text))) this.chips = [...this.chips, { field, operator, value: Number(text) }];
    this.ask();
  },
  boundOf(field, operator) {
    const chip = this.chips.find((chip) => chip.field === field && chip.operator === operator);
    return chip ? chip.value : "";
  },
  typedValue(field, event) {
    const value = event.target.value.trim();
    event.target.value = "";
    // Equality never matches a list.
    const lists = this.fields.find((known) => known.name === field).values.some((item) => item.operator === "contains");
    if (value && !this.isOn(field, value)) this.toggle(field, value, lists ? "contains" : "==");
  },
  closeFields(event) {
    for (const open of document.querySelectorAll("details[open].field")) {
      if (!open.contains(event.target)) open.open = false;
    }
  },
  drop(chip) {
    this.chips = this.chips.filter((other) => other !== chip);
    this.ask();
    this.$refs.query.focus();
  },
  dropAll() {
    this.chips = [];
    this.ask();
    this.$refs.query.focus();
  },

  // Keys

  key(event) {
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
    const at = hits.indexOf(document.activeElement);
    const inQuery = event.target === this.$refs.query;
    if (event.key === "Escape") {
      if (inQuery && this.query) {
        event.preventDefault();
        this.query = "";
        this.ask();
      } else {
        this.pinned = -1;
        this.look(-1);
        this.$refs.query.focus();
      }
    } else if (event.key === "ArrowDown" && (inQuery || at >= 0) && hits.length) {
      event.preventDefault();
      this.go(hits[Math.min(at + 1, hits.length - 1)]);
    } else if (event.key === "ArrowUp" && at >= 0) {
      event.preventDefault();
      this.go(at === 0 ? this.$refs.query : hits[at - 1]);
    } else if (at >= 0 && (event.key === "ArrowRight" || event.key === "ArrowLeft")) {
      event.preventDefault();
      this.stepWord(event.key === "ArrowRight" ? 1 : -1);
    } else if (at >= 0 && event.key === "Enter") {
      event.preventDefault();
      this.unfold(this.hits[at]);
    }
  },
  go(element) {
    element.focus({ preventScroll: true });
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
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
    if (this.uploading.state === "done" || this.uploading.state === "failed") this.uploading = this.idle();
    this.$refs.files.showModal();
  },
  closeFiles() {
    this.$refs.files.close();
  },
  idle: () => ({ state: "idle", message: "", share: null, skipped: [] }),
  take(event) {
    const files = chosen(event.target.files);
    event.target.value = "";
    this.send(files);
  },
  over(event) {
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
      this.uploading = { ...this.idle(), state: "failed", message: "The folder contains no files." };
      return;
    }
    const aborting = (this._uploadAbort = new AbortController());
    const index = this.index;
    const count = `${number(files.length)} file${files.length === 1 ? "" : "s"}`;
    const totals = { files: files.length, done: 0, added: 0, skipped: [], error: null };
    try {
      for (let start = 0; start < files.length && totals.error === null; start += FILES_PER_REQUEST) {
        const batch = files.slice(start, start + FILES_PER_REQUEST);
        const sent = (share) => (this.uploading.share = (start + share * batch.length) / files.length);
        this.uploading = { state: "sending", message: `Sending ${count}…`, share: start / files.length, skipped: totals.skipped };
        const id = await api.upload(index, batch, sent, aborting.signal);
        await this.follow(id, totals);
      }
      const [state, message] = totals.error === null ? ["done", `${passages(totals.added)} added.`] : ["failed", totals.error];
      this.uploading = { state, message, share: null, skipped: totals.skipped };
    } catch (error) {
      const refused = error.status === 401 || error.status === 403;
      const before = totals.done ? ` ${passages(totals.added)} of the first ${number(totals.done)} files were added.` : "";
      const message = (refused ? "This requires a token with write access." : error.message) + before;
      this.uploading = { state: "failed", message, share: null, skipped: totals.skipped };
      if (error.status === 401) this.needsToken = true;
    }
  },
  /** Waits until one batch of files is indexed and adds it to `totals`. */
  async follow(id, totals) {
    for (;;) {
      const job = await api.job(id);
      const [done, added, skipped] = [totals.done + job.done, totals.added + job.added, [...totals.skipped, ...job.skipped]];
      if (job.state === "done" || job.state === "failed") {
        const error = job.state === "failed" ? job.error || "Indexing failed; the server's log has the details." : null;
        Object.assign(totals, { done, added, skipped, error });
        await this.refresh();
        return;
      }
      const message = job.state === "queued" ? "Waiting…" : `Indexing: ${number(done)} of ${number(totals.files)} files, ${passages(added)}…`;
      this.uploading = { state: "indexing", message, share: done / totals.files, skipped };
      await new Promise((resolve) => setTimeout(resolve, POLL));
    }
  },
  stop() {
    if (this._uploadAbort) this._uploadAbort.abort();
  },
  /** Reloads the counts and the results after a change. */
  async refresh() {
    this.indexes = await api.indexes();
    this.ask();
  },
});
