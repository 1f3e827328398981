// The side column of wide screens: the chosen passage whole, its neighbors in the file, and its metadata.

import * as api from "./api.js";
import { blocksOf } from "./blocks.js";
import { highlight, paint } from "./painting.js";

export const panel = () => ({
  chosen: null,
  // Texts of neighboring passages, and whether there may be more in that direction.
  before: { texts: [], more: false },
  after: { texts: [], more: false },

  choose(hit) {
    if (this.chosen === hit) return;
    this.chosen = hit;
    const part = hit === null ? null : numberOf(hit.id);
    this.before = { texts: [], more: part !== null && part.number > 1 };
    this.after = { texts: [], more: part !== null };
  },
  isChosen(hit) {
    return this.chosen !== null && this.chosen.key === hit.key;
  },
  get details() {
    if (this.chosen === null) return [];
    return Object.entries(this.chosen.metadata).map(([name, value]) => ({
      name,
      value: typeof value === "string" ? value : JSON.stringify(value),
    }));
  },
  paintChosen(element) {
    const hit = this.chosen;
    if (hit === null) return;
    paint(element, hit.text, hit.blocks, hit.marked, [[0, hit.text.length]]);
    queueMicrotask(() => highlight(element, this.word));
  },
  paintNeighbor(element, neighbor) {
    paint(element, neighbor.text, blocksOf(neighbor.text, neighbor.kind), [], [[0, neighbor.text.length]]);
  },
  showBefore() {
    return this.showNeighbor(this.before, -1);
  },
  showAfter() {
    return this.showNeighbor(this.after, 1);
  },
  /** Load the next passage of the file in a direction; there is none where the server knows none. */
  async showNeighbor(side, step) {
    const hit = this.chosen;
    const { name, number } = numberOf(hit.id);
    const id = `${name}#${number + step * (side.texts.length + 1)}`;
    try {
      const { text } = await api.documentOf(hit.index, id);
      if (this.chosen !== hit) return;
      const neighbor = { id, text: text || "", kind: hit.kind };
      side.texts = step < 0 ? [neighbor, ...side.texts] : [...side.texts, neighbor];
      side.more = step > 0 || number - side.texts.length > 1;
    } catch (error) {
      side.more = false;
      if (error.status !== 404) this.showError(error);
    }
  },
});

/** Return the name and number of a passage's id, such as "notes/a.md#3", or null. */
function numberOf(id) {
  const match = /^(.+)#(\d+)$/.exec(id);
  return match ? { name: match[1], number: Number(match[2]) } : null;
}
