// The page's state, and what it does. What it looks like is in index.html and style.css.

import * as api from "./api.js";
import { chosen, dropped } from "./files.js";
import { Seen, chipText, facts, where } from "./filters.js";
import { isLong, light, marks, paint, sameWords, excerpts, words } from "./passages.js";
import { milliseconds, number, plan, stages } from "./telling.js";

const PAUSE = 140;
const POLL = 400;
const K = 10;
// Files sent at once: the server takes 1,000 in one request.
const PART = 500;
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
  asked: [],
  hits: [],
  word: -1,
  pinned: -1,
  busy: false,
  loaded: false,
  answered: "",
  status: "",
  problem: "",
  told: null,
  certificate: null,
  needsToken: false,
  token: "",
  theme: localStorage.getItem(THEME) || "auto",
  uploading: { state: "idle", message: "", share: null, skipped: [] },
  dragging: false,

  // Not for Alpine to watch.
  _seen: {},
  _timer: 0,
  _aborting: null,
  _uploadAbort: null,

  init() {
    const link = new URLSearchParams(location.search);
    this.query = link.get("q") || "";
    if (["late", "bm25", "hybrid"].includes(link.get("mode"))) this.mode = link.get("mode");
    this.exact = link.get("exact") === "1" && this.mode === "late";
    this.index = link.get("index") || "";
    this.dress();
    this.load();
  },

  async load() {
    this.problem = "";
    try {
      this.indexes = await api.indexes();
    } catch (failure) {
      this.fail(failure);
      return;
    }
    this.loaded = true;
    this.needsToken = false;
    if (!this.indexes.some((each) => each.name === this.index)) this.index = this.indexes.length ? this.indexes[0].name : "";
    this.enter();
    this.$nextTick(() => this.$refs.query.focus());
  },

  // Indexes

  get current() {
    return this.indexes.find((each) => each.name === this.index) || null;
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
  seen() {
    if (!this._seen[this.index] && this.current !== null) this._seen[this.index] = new Seen(this.current.filterable || {});
    return this._seen[this.index];
  },
  showFields() {
    this.fields = this.current === null ? [] : this.seen().told();
  },

  // Asking

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
    const question = this.query.trim();
    this.remember(question);
    if (!question || this.current === null) {
      this.clear();
      return;
    }
    const aborting = (this._aborting = new AbortController());
    const index = this.index;
    this.busy = true;
    try {
      const body = {
        query: question,
        k: K,
        mode: this.mode,
        exact: this.exact,
        where: where(this.chips),
        explain: this.mode !== "bm25",
      };
      const answer = await this.patiently(() => api.search(index, body, aborting.signal), aborting.signal);
      // An answer that was overtaken is dropped, whatever it is.
      if (this._aborting !== aborting) return;
      this.show(question, answer);
    } catch (failure) {
      if (failure.name === "AbortError" || this._aborting !== aborting) return;
      this.fail(failure);
    } finally {
      if (this._aborting === aborting) this.busy = false;
    }
  },
  /** Again, while the server says that it is too busy now. */
  async patiently(work, signal) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (failure) {
        if (![429, 503].includes(failure.status) || attempt === 5) throw failure;
        this.status = "The server is busy; trying again…";
        await new Promise((resolve) => setTimeout(resolve, Math.min(failure.retryAfter, 5) * 1000));
        if (signal.aborted) throw new DOMException("overtaken", "AbortError");
      }
    }
  },
  clear() {
    Object.assign(this, { hits: [], asked: [], told: null, certificate: null, word: -1, pinned: -1, busy: false });
    Object.assign(this, { answered: "", status: "", problem: "" });
  },
  show(question, answer) {
    const asked = words(question);
    const hits = answer.hits.map((hit, rank) => this.dressed(hit, rank, asked));
    this.seen().add(answer.hits);
    this.showFields();
    Object.assign(this, { asked, hits, word: -1, pinned: -1, problem: "", answered: question });
    this.certificate = answer.certificate;
    this.told = {
      plan: plan(answer.stats),
      stages: stages(answer.stats.milliseconds),
      total: milliseconds(answer.milliseconds.total),
    };
    const found = hits.length === 0 ? "Nothing found" : `${hits.length} passage${hits.length === 1 ? "" : "s"}`;
    this.status = `${found} in ${milliseconds(answer.milliseconds.total)}`;
  },
  dressed(hit, rank, asked) {
    const text = hit.text || "";
    const marked = hit.explanation ? marks(hit.explanation, asked) : sameWords(text, asked);
    const best = asked.map((_, word) => this.bestOf(text, marked, word));
    return {
      key: `${rank} ${hit.id}`,
      rank: rank + 1,
      id: hit.id,
      // The title of a document, else the headings that a passage of a file stands under.
      title: [hit.metadata.title, hit.metadata.heading].find((name) => typeof name === "string") || "",
      score: hit.score === null ? "" : hit.score.toFixed(this.mode === "hybrid" ? 4 : 2),
      text,
      // Lists, verse and code keep their lines; prose that was wrapped by hand does not.
      lines: text.length / text.split("\n").length < 60,
      // A file's name stands in the ids of its passages.
      facts: facts(hit.metadata).filter((fact) => !hit.id.startsWith(`${fact.value}#`)).slice(0, 8).map((fact) => ({ ...fact, text: `${fact.field} ${fact.value}` })),
      marked,
      best,
      stretches: excerpts(text, marked),
      long: isLong(text),
      whole: false,
    };
  },
  bestOf(text, marked, word) {
    let best = null;
    for (const mark of marked) {
      if (!(word in mark.by)) continue;
      if (best === null || mark.by[word] > best.similarity) best = { text: text.slice(mark.start, mark.end), similarity: mark.by[word] };
    }
    return best;
  },
  fail(failure) {
    this.busy = false;
    this.status = "";
    if (failure.status === 401) {
      this.needsToken = true;
      this.problem = this.token ? "The server does not know this token." : "";
      this.$nextTick(() => this.$refs.token.focus());
      return;
    }
    this.problem = failure.message;
  },
  enterToken() {
    api.useToken(this.token);
    if (this.loaded) {
      this.needsToken = false;
      this.ask();
    } else this.load();
  },
  remember(question) {
    const link = new URLSearchParams();
    if (question) link.set("q", question);
    if (this.indexes.length > 1) link.set("index", this.index);
    if (this.mode !== "late") link.set("mode", this.mode);
    if (this.exact) link.set("exact", "1");
    const text = link.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
  },

  // Passages and the words of the question

  fill(element, hit) {
    paint(element, hit.text, hit.marked, hit.whole ? [[0, hit.text.length]] : hit.stretches);
    // Later, so that Alpine does not paint the passage anew whenever another word is looked at.
    queueMicrotask(() => light(element, this.word));
  },
  relight(element) {
    light(element, this.word);
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
    this.tell();
  },
  stepWord(step) {
    if (!this.asked.length) return;
    this.pinned = ((this.pinned + 1 + step + this.asked.length + 1) % (this.asked.length + 1)) - 1;
    this.look(this.pinned);
    this.tell();
  },
  tell() {
    if (this.pinned < 0) {
      this.status = "Every word is shown again";
      return;
    }
    const found = this.hits.map((hit) => hit.best[this.pinned]).filter(Boolean);
    const words_ = [...new Set(found.map((best) => best.text.toLowerCase()))].slice(0, 5).join(", ");
    this.status = `“${this.asked[this.pinned].text}” matched in ${found.length} of ${this.hits.length} passages: ${words_}`;
  },
  lookBack(event) {
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
    const chip = this.chips.find((each) => each.field === field && each.operator === operator);
    return chip ? chip.value : "";
  },
  typedValue(field, event) {
    const value = event.target.value.trim();
    event.target.value = "";
    // A list equals nothing.
    const lists = this.fields.find((each) => each.name === field).values.some((item) => item.operator === "contains");
    if (value && !this.isOn(field, value)) this.toggle(field, value, lists ? "contains" : "==");
  },
  closeFields(event) {
    for (const open of document.querySelectorAll("details[open].field")) {
      if (!open.contains(event.target)) open.open = false;
    }
  },
  drop(chip) {
    this.chips = this.chips.filter((each) => each !== chip);
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

  dress() {
    document.documentElement.dataset.theme = this.theme;
    localStorage.setItem(THEME, this.theme);
  },
  nextTheme() {
    const order = ["auto", "light", "dark"];
    this.theme = order[(order.indexOf(this.theme) + 1) % order.length];
    this.dress();
  },
  get themeText() {
    return { auto: "Light or dark as the system is", light: "Light", dark: "Dark" }[this.theme];
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
      this.uploading = { ...this.idle(), state: "failed", message: "There are no files in it." };
      return;
    }
    const aborting = (this._uploadAbort = new AbortController());
    const index = this.index;
    const count = `${number(files.length)} file${files.length === 1 ? "" : "s"}`;
    const sum = { files: files.length, done: 0, added: 0, skipped: [], error: null };
    try {
      for (let start = 0; start < files.length && sum.error === null; start += PART) {
        const part = files.slice(start, start + PART);
        const sent = (share) => (this.uploading.share = (start + share * part.length) / files.length);
        this.uploading = { state: "sending", message: `Sending ${count}…`, share: start / files.length, skipped: sum.skipped };
        const id = await api.upload(index, part, sent, aborting.signal);
        await this.follow(id, sum);
      }
      const [state, message] = sum.error === null ? ["done", `${passages(sum.added)} added.`] : ["failed", sum.error];
      this.uploading = { state, message, share: null, skipped: sum.skipped };
    } catch (failure) {
      const refused = failure.status === 401 || failure.status === 403;
      const before = sum.done ? ` ${passages(sum.added)} of the first ${number(sum.done)} files were added.` : "";
      const message = (refused ? "This needs a token that may write." : failure.message) + before;
      this.uploading = { state: "failed", message, share: null, skipped: sum.skipped };
      if (failure.status === 401) this.needsToken = true;
    }
  },
  /** Until a part of the files is indexed; `sum` is what the parts before came to, and this one is added to it. */
  async follow(id, sum) {
    for (;;) {
      const job = await api.job(id);
      const [done, added, skipped] = [sum.done + job.done, sum.added + job.added, [...sum.skipped, ...job.skipped]];
      if (job.state === "done" || job.state === "failed") {
        const error = job.state === "failed" ? job.error || "It failed; the server's log says why." : null;
        Object.assign(sum, { done, added, skipped, error });
        await this.refresh();
        return;
      }
      const message = job.state === "queued" ? "Waiting for its turn…" : `Indexing: ${number(done)} of ${number(sum.files)} files, ${passages(added)}…`;
      this.uploading = { state: "indexing", message, share: done / sum.files, skipped };
      await new Promise((resolve) => setTimeout(resolve, POLL));
    }
  },
  stop() {
    if (this._uploadAbort) this._uploadAbort.abort();
  },
  /** Counts, and the answer to what is asked, are as of before. */
  async refresh() {
    this.indexes = await api.indexes();
    this.ask();
  },
});
