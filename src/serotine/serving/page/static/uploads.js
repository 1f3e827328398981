// Adding files: sending them in batches, waiting until they are indexed, and saying what became of them.

import * as api from "./api.js";
import { chosen, dropped, isHidden } from "./files.js";
import { number, passages } from "./format.js";
import { withEvery } from "./several.js";

const POLL = 400;
// Files per request; the server's limit is 1,000.
const FILES_PER_REQUEST = 500;
// Names of skipped files and rows that are listed.
const MAX_LISTED = 200;

// Warnings that are shown as counts of passages.
const COUNTED = ["TruncatedTextWarning", "UnknownTextWarning"];

const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
const atLine = ({ file, line, reason }) => ({ file: `${file}:${line}`, reason });
const idle = () => ({ state: "idle", message: "", share: null, skipped: [] });

export const uploads = () => ({
  uploading: idle(),
  dragging: false,
  // Not reactive.
  _uploadAbort: null,

  openFiles() {
    if (!this.sending) this.uploading = idle();
    this.$refs.files.showModal();
  },
  closeFiles() {
    this.$refs.files.close();
  },
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
  async send(all) {
    if (this.sending) return;
    const files = all.filter(({ path }) => !isHidden(path));
    const hidden = all.length - files.length;
    if (!files.length) {
      const message = hidden ? "All files are hidden: nothing was sent." : "Nothing was sent: drop files, or folders with files in them.";
      this.uploading = { ...idle(), state: "failed", message };
      return;
    }
    const controller = (this._uploadAbort = new AbortController());
    const index = this.index;
    const totals = { files: files.length, done: 0, added: 0, skippedFiles: 0, skippedRows: 0, skipped: [], error: null };
    Object.assign(totals, { unchanged: 0, unread: {}, hidden, cutRecords: 0, truncated: 0, unknown: 0, warnings: [] });
    Object.assign(totals, { problems: 0, metadata: 0, replaced: 0, removed: 0 });
    try {
      for (let start = 0; start < files.length && totals.error === null; start += FILES_PER_REQUEST) {
        const batch = files.slice(start, start + FILES_PER_REQUEST);
        const sent = (share) => (this.uploading.share = (start + share * batch.length) / files.length);
        const share = start / files.length;
        this.uploading = { state: "sending", message: `Sending ${count(files.length, "file")}…`, share, skipped: totals.skipped };
        const id = await api.upload(index, batch, sent, controller.signal);
        await this.waitForJob(id, totals);
      }
      this.uploading = { ...outcome(totals), share: null, skipped: totals.skipped };
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
      const rows = [...job.skipped_rows.first, ...job.problems.first].map(atLine);
      const skipped = [...totals.skipped, ...job.skipped, ...rows].slice(0, MAX_LISTED);
      if (job.state === "done" || job.state === "failed") {
        const failure = job.error || "Indexing failed; the server's log has the details.";
        const error = job.state === "failed" ? failure : null;
        Object.assign(totals, { done, added, skipped, error });
        totals.skippedFiles += job.skipped.length;
        totals.skippedRows += job.skipped_rows.count;
        totals.problems += job.problems.count;
        totals.metadata += job.changed_metadata;
        totals.replaced += job.replaced;
        totals.removed += job.removed;
        totals.unchanged += job.files.unchanged;
        totals.cutRecords += job.cut_records;
        totals.truncated += job.truncated;
        totals.unknown += job.unknown;
        const others = job.warnings.filter(({ kind }) => !COUNTED.includes(kind)).map(({ message }) => message);
        totals.warnings = [...new Set([...totals.warnings, ...others])];
        for (const [kind, value] of Object.entries(job.unread)) totals.unread[kind] = (totals.unread[kind] || 0) + value;
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
    this.indexes = withEvery(await api.indexes());
    this.search();
  },
});

/** Return what became of an upload: "done" only where everything was indexed. */
function outcome(totals) {
  const { files, added, unchanged, skippedFiles, skippedRows, unread, hidden, error } = totals;
  if (error !== null) return { state: "failed", message: error };
  const skipped = [];
  if (skippedFiles) skipped.push(`${number(skippedFiles)} of ${count(files, "file")}`);
  if (skippedRows) skipped.push(count(skippedRows, "row"));
  const left = Object.entries(unread).map(([kind, value]) => `${kind} (${number(value)})`);
  const parts = [`${passages(added)} added`];
  if (totals.replaced) parts.push(`${number(totals.replaced)} of them replaced`);
  if (unchanged) parts.push(`${count(unchanged, "file")} unchanged`);
  if (totals.removed) parts.push(`${passages(totals.removed)} removed`);
  if (totals.metadata) parts.push(`metadata of ${passages(totals.metadata)} changed`);
  if (hidden) parts.push(`${number(hidden)} hidden left out`);
  if (left.length) parts.push(`not read: ${left.join(", ")}`);
  if (totals.cutRecords) parts.push(`${count(totals.cutRecords, "long record")} cut into passages`);
  if (totals.truncated) parts.push(`${number(totals.truncated)} too long for the encoder, their ends are not searched`);
  if (totals.unknown) parts.push(`${number(totals.unknown)} in a script the encoder does not know, found by words only`);
  if (totals.problems) parts.push(`${count(totals.problems, "place")} possibly misread`);
  parts.push(...totals.warnings);
  const incomplete = totals.problems || left.length || totals.truncated || totals.unknown || totals.warnings.length;
  if (!skipped.length) return { state: incomplete ? "partial" : "done", message: `${parts.join("; ")}.` };
  parts.push(`${skipped.join(" and ")} skipped:`);
  return { state: skippedFiles === files ? "failed" : "partial", message: parts.join("; ") };
}
